// SPDX-License-Identifier: MIT
#pragma once

#include <unistd.h>

#include <fstream>
#include <string>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {

/// Tests of `pkgfs mount --writable`, as root. At their end, nothing of a writable mount is left.
class WritableTest : public MountedTest {
 protected:
  static constexpr const char* kRuns = "/run/pkgfs/writable";
  static constexpr const char* kThrownAway = "/var/lib/pkgfs/writable";

  void SetUp() override {
    MountedTest::SetUp();
    if (!IsSkipped() && ::geteuid() != 0) {
      GTEST_SKIP() << "only root can mount an overlay";
    }
    if (!IsSkipped() && shell("modprobe -q overlay 2> /dev/null; grep -qw overlay /proc/filesystems").exit_code != 0) {
      GTEST_SKIP() << "the kernel has no overlayfs";
    }
    // overlayfs can't write above itself, so a container's root needs another file system.
    if (!IsSkipped() && shell("stat -fc %T " + dir_.path().string()).out == "overlayfs\n") {
      GTEST_SKIP() << "TMPDIR is on an overlay";
    }
    PackageBuilder("acme/app@1.2.3")
        .file("data", "bin/tool", "tool\n")
        .file("data", "etc/app.conf", "one\ntwo\n")
        .file("data", "lib/deep/a.txt", "a\n")
        .file("data", "lib/deep/b.txt", "b\n")
        .mount("/", "data")
        .write(package());
  }

  [[nodiscard]] std::string package() const { return dir_.path() / "app.webc"; }
  [[nodiscard]] std::string changes() const { return dir_.path() / "changes"; }
  [[nodiscard]] Arguments kept() const { return {"--offline", "--writable=" + changes()}; }
  [[nodiscard]] static ProcessResult pkgfs(Arguments words) {
    words.insert(words.begin(), kPkgfs);
    return run(words);
  }
  static void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
  /// Another user. Each test has its own one, because the records of a user's writable mounts are in one directory.
  [[nodiscard]] static std::string user() { return std::to_string(60'000 + ::getpid() % 5'000); }
  /// The directory of these records.
  [[nodiscard]] static std::string runs_of_user() { return "/tmp/pkgfs-" + user(); }
  /// The command that runs another one as this user, in the working directory and in a mount namespace of the caller.
  /// fusermount3 asks for the name of the user.
  [[nodiscard]] static std::string as_this_user() {
    return "{ cat /etc/passwd; echo user:x:" + user() + ":" + user() +
           "::/:/bin/sh; } > passwd; mount --bind passwd /etc/passwd; exec setpriv --reuid=" + user() +
           " --regid=" + user() + " --clear-groups env HOME=$PWD/home XDG_RUNTIME_DIR= ";
  }
  /// The run directory of the mount, or empty.
  [[nodiscard]] static std::string run_of(const std::filesystem::path& mountpoint) {
    return shell("grep -ls '\"" + mountpoint.string() + "\"' " + kRuns + "/*/mount.json | xargs -r dirname").out;
  }

  TempDir dir_;
};

}  // namespace pkgfs::test
