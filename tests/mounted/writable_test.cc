// SPDX-License-Identifier: MIT
// Risk: a writable mount loses changes, changes the package, leaves one of its two mounts behind, or isn't treated as
// one mount.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <csignal>

#include "tests/mounted/writable.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Writable : public WritableTest {
 protected:
  /// Of the process that serves the mount.
  [[nodiscard]] static json described(const fs::path& mountpoint) {
    for (const json& mount : json::parse(pkgfs({"mounts", "--json"}).out)) {
      if (mount["mountpoint"] == mountpoint.string()) {
        return mount;
      }
    }
    return {};
  }
  [[nodiscard]] static bool is_gone(const fs::path& mountpoint) {
    return run_of(mountpoint).empty() && !find_mount(mountpoint);
  }
};

TEST_F(Writable, TakesChangesWhichEndWithTheMount) {
  fs::path mountpoint;
  std::string run;
  {
    MountedPackage mount(kPkgfs, package(), {"--offline", "--writable"});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    mountpoint = mount.path();
    run = run_of(mountpoint);
    EXPECT_NE(run, "");
    const auto line = find_mount(mountpoint);
    ASSERT_TRUE(line);
    EXPECT_EQ(line->type, "overlay");
    EXPECT_EQ(line->source, "acme/app@1.2.3");
    for (const char* word : {"rw", "nosuid", "nodev"}) {
      EXPECT_TRUE(line->has(word)) << word;
    }
    write(mount / "new", "new\n");
    write(mount / "etc/app.conf", "changed\n");
    EXPECT_EQ(::unlink((mount / "lib/deep/a.txt").c_str()), 0);
    EXPECT_EQ(::rename((mount / "lib").c_str(), (mount / "moved").c_str()), 0) << "without EXDEV";
    EXPECT_EQ(read_text(mount / "moved/deep/b.txt"), "b\n");
    EXPECT_EQ(read_text(mount / "etc/app.conf"), "changed\n");
    EXPECT_FALSE(fs::exists(mount / "moved/deep/a.txt"));
    struct stat root{};
    struct stat packaged{};
    struct stat added{};
    ASSERT_EQ(::stat(mount.path().c_str(), &root), 0);
    ASSERT_EQ(::stat((mount / "bin/tool").c_str(), &packaged), 0);
    ASSERT_EQ(::stat((mount / "new").c_str(), &added), 0);
    EXPECT_EQ(root.st_dev, packaged.st_dev) << "one file system for find -xdev, du -x and mv";
    EXPECT_EQ(root.st_dev, added.st_dev);
  }
  EXPECT_TRUE(eventually([&] { return is_gone(mountpoint); })) << run;
  EXPECT_FALSE(fs::exists(fs::path(kThrownAway) / fs::path(run.substr(0, run.size() - 1)).filename()));
  MountedPackage again(kPkgfs, package(), {"--offline", "--writable"});
  ASSERT_TRUE(again.ok()) << again.result().describe();
  EXPECT_FALSE(fs::exists(again / "new"));
  EXPECT_EQ(read_text(again / "etc/app.conf"), "one\ntwo\n");
}

TEST_F(Writable, ADirectoryKeepsTheChangesForTheNextMount) {
  {
    MountedPackage mount(kPkgfs, package(), kept());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    write(mount / "new", "new\n");
  }
  MountedPackage mount(kPkgfs, package(), kept());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(read_text(mount / "new"), "new\n");
  TempDir other;
  const ProcessResult second =
      pkgfs({"mount", "--offline", "--writable=" + changes(), package(), other.path().string()});
  EXPECT_EQ(second.exit_code, 9) << second.describe();
  EXPECT_NE(second.err.find("are in use"), std::string::npos) << second.err;
  EXPECT_EQ(run_of(other.path()), "") << "what was refused leaves nothing";
}

TEST_F(Writable, ChangesAboveAnotherPackageNeedRebase) {
  {
    MountedPackage mount(kPkgfs, package(), kept());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    write(mount / "etc/app.conf", "mine\n");
  }
  const std::string other = dir_.path() / "other.webc";
  PackageBuilder("acme/app@2.0.0")
      .file("data", "etc/app.conf", "2\n")
      .file("data", "etc/more", "2\n")
      .mount("/", "data")
      .write(other);
  {
    MountedPackage refused(kPkgfs, other, kept());
    expect_refused(refused);
    EXPECT_NE(refused.result().err.find("--rebase"), std::string::npos) << refused.result().describe();
  }
  for (const Arguments& more : {Arguments{"--rebase"}, Arguments{}}) {
    Arguments options = kept();
    options.insert(options.end(), more.begin(), more.end());
    MountedPackage mount(kPkgfs, other, options);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    EXPECT_EQ(read_text(mount / "etc/app.conf"), "mine\n");
    EXPECT_EQ(read_text(mount / "etc/more"), "2\n");
  }
  MountedPackage options(kPkgfs, other,
                         {"--offline", "--no-commands", "--conflicts=shadow", "--writable=" + changes()});
  expect_refused(options);
}

TEST_F(Writable, OutlivesItsDaemon) {
  MountedPackage mount(kPkgfs, package(), kept());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  write(mount / "new", "new\n");
  ASSERT_TRUE(eventually([&] { return described(mount.path()).value("keeper", json()).is_number(); }));
  const int killed = described(mount.path())["pid"];
  ASSERT_EQ(::kill(killed, SIGKILL), 0);
  EXPECT_EQ(read_text(mount / "lib/deep/a.txt"), "a\n") << "from the successor";
  write(mount / "etc/app.conf", "changed\n");
  ASSERT_TRUE(eventually([&] { return described(mount.path())["generation"] == 2; })) << described(mount.path());
  EXPECT_EQ(described(mount.path())["state"], "live");
  const TempDir other;
  const ProcessResult second = pkgfs({"mount", "--offline", "--writable=" + changes(), package(), other.path()});
  EXPECT_EQ(second.exit_code, 9) << "the lock outlives the daemon as well: " << second.describe();
  const ProcessResult unmounted = pkgfs({"unmount", mount.path().string()});
  EXPECT_TRUE(unmounted.ok()) << unmounted.describe();
  EXPECT_TRUE(is_gone(mount.path()));
  EXPECT_EQ(read_text(changes() + "/upper/etc/app.conf"), "changed\n");
}

TEST_F(Writable, TheCommandsForMountsTreatBothAsOne) {
  MountedPackage mount(kPkgfs, package(), {"--offline", "--writable"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string path = mount.path();
  const std::string list = pkgfs({"mounts"}).out;
  EXPECT_NE(list.find("acme/app@1.2.3 on " + path + " (live)\n"), std::string::npos) << list;
  EXPECT_EQ(list.find(kRuns), std::string::npos) << list;
  EXPECT_TRUE(pkgfs({"wait", path}).ok());
  const json stats = json::parse(pkgfs({"stats", "--json", path}).out);
  EXPECT_EQ(stats["mountpoint"], path);
  EXPECT_TRUE(pkgfs({"upgrade-mounts", path}).ok());
  const ProcessResult again = pkgfs({"mount", "--offline", package(), path});
  EXPECT_EQ(again.exit_code, 9) << again.describe();
  EXPECT_EQ(pkgfs({"doctor"}).out.find(kRuns), std::string::npos);

  const int file = ::open((mount / "bin/tool").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  EXPECT_EQ(pkgfs({"unmount", path}).exit_code, 9) << "a program uses it";
  EXPECT_NE(run_of(path), "");
  EXPECT_TRUE(pkgfs({"unmount", "--lazy", path}).ok());
  EXPECT_FALSE(find_mount(path));
  char byte = 0;
  EXPECT_EQ(::pread(file, &byte, 1, 0), 1) << "until it is closed";
  ::close(file);
  EXPECT_TRUE(eventually([&] { return is_gone(path); }));
}

TEST_F(Writable, UnchangedFilesCostNoMoreRequestsThanInAPlainMount) {
  const std::string many = dir_.path() / "many.webc";
  PackageBuilder builder("acme/many@1.0.0");
  for (int i = 0; i < 200; ++i) {
    builder.file("data", "d" + std::to_string(i % 10) + "/f" + std::to_string(i), "x");
  }
  builder.mount("/", "data").write(many);
  const auto requests = [&](const Arguments& options) {
    MountedPackage mount(kPkgfs, many, options);
    EXPECT_TRUE(mount.ok()) << mount.result().describe();
    EXPECT_TRUE(shell("cd " + mount.path().string() + " && find . -type f -exec cat {} + > /dev/null").ok());
    const json stats = json::parse(pkgfs({"stats", "--json", mount.path().string()}).out);
    EXPECT_EQ(stats["package"], "acme/many@1.0.0");
    return stats["requests"];
  };
  const json plain = requests({"--offline", "--push=off"});
  const json writable = requests({"--offline", "--push=off", "--writable"});
  EXPECT_LE(writable["getxattr"], 1) << "overlayfs looks for its marks at every entry: " << writable;
  EXPECT_LE(writable["lookup"], plain["lookup"]) << writable;
  EXPECT_LE(writable["read"], plain["read"]) << writable;
}

TEST_F(Writable, ASignalEndsBoth) {
  fs::path path;
  {
    MountedPackage mount(kPkgfs, package(), {"--offline", "--writable"});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    path = mount.path();
    ASSERT_EQ(::kill(described(path)["pid"], SIGTERM), 0);
    EXPECT_TRUE(eventually([&] { return is_gone(path); }));
  }
}

TEST_F(Writable, ADeadMountIsClearedByUnmountAndByMount) {
  for (const bool by_mount : {false, true}) {
    SCOPED_TRACE(by_mount);
    MountedPackage mount(kPkgfs, package(), {"--offline", "--writable", "--keeper=off"});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    ASSERT_EQ(::kill(described(mount.path())["pid"], SIGKILL), 0);
    ASSERT_TRUE(eventually([&] { return described(mount.path())["state"] == "dead"; }));
    if (by_mount) {
      const ProcessResult again = pkgfs({"mount", "--offline", "--writable", package(), mount.path().string()});
      EXPECT_TRUE(again.ok()) << again.describe();
      write(mount / "new", "new\n");
      EXPECT_EQ(read_text(mount / "new"), "new\n");
    }
    const ProcessResult unmounted = pkgfs({"unmount", mount.path().string()});
    EXPECT_TRUE(unmounted.ok()) << unmounted.describe();
    EXPECT_TRUE(is_gone(mount.path()));
  }
}

TEST_F(Writable, WhatCannotBeMountedLeavesNothing) {
  const std::string where = dir_.path() / "place";
  fs::create_directory(where);
  write(changes() + "-file", "x");
  MountedPackage file(kPkgfs, package(), {"--offline", "--writable=" + changes() + "-file"});
  expect_refused(file);
  EXPECT_EQ(run_of(file.path()), "");
  MountedPackage full(kPkgfs, package(), {"--offline", "--writable=" + where + "/missing/dir"});
  expect_refused(full);
  EXPECT_EQ(run_of(full.path()), "");
  write(where + "/mine", "x");
  MountedPackage mine(kPkgfs, package(), {"--offline", "--writable=" + where});
  expect_refused(mine);
  EXPECT_NE(mine.result().err.find("isn't empty"), std::string::npos) << mine.result().describe();
}

TEST_F(Writable, AnOverlayThatTheKernelRefusesTakesTheFuseMountWithIt) {
  // The directory of changes is on an overlay, where the kernel makes no other one.
  const std::string line =
      "set -e; mkdir -p l u w m mp; mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m; "
      "mkdir m/c; trap 'umount m' EXIT; ! " +
      kPkgfs + " mount --offline --writable=m/c " + package() + " mp 2> error";
  const ProcessResult refused = shell("cd " + dir_.path().string() + " && (" + line + ")");
  EXPECT_TRUE(refused.ok()) << refused.describe();
  EXPECT_NE(read_text(dir_.path() / "error").find("Unable to mount the changes"), std::string::npos)
      << read_text(dir_.path() / "error");
  const fs::path path = dir_.path() / "mp";
  EXPECT_TRUE(eventually([&] { return is_gone(path) && processes_with("mp").empty(); }));
  EXPECT_EQ(shell("ls -A " + (dir_.path() / "u/c").string()).out, "")
      << "what the mount made in the directory goes, too";
}

TEST_F(Writable, MemoryHasTheLimitsThatWereAsked) {
  MountedPackage mount(kPkgfs, package(), {"--offline", "--writable-size=1M", "--writable-inodes=64", "--writable"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  write(mount / "small", "x");
  EXPECT_NE(shell("head -c 4M /dev/zero > " + (mount / "large")).exit_code, 0);
  EXPECT_NE(shell("cd " + mount.path().string() + " && for i in $(seq 100); do : > f$i || exit 1; done").exit_code, 0);
}

TEST_F(Writable, OptionsThatDoNotFitAreRefused) {
  TempDir live;
  (void)live.write("wasmer.toml", "[package]\nname='acme/live'\nversion='1.0.0'\n[fs]\n'/x'='x'\n");
  (void)live.write("x/y", "y");
  const std::pair<Arguments, std::string> cases[] = {
      {{"--writable", "--follow-manifest"}, "--follow-manifest"},
      {{"--writable", "--no-allow-other"}, "--no-allow-other"},
      {{"--rebase"}, "--writable"},
      {{"--writable", "--rebase"}, "--writable=DIR"},
      {{"--writable-size=1M"}, "--writable"},
      {{"--writable=" + changes(), "--writable-size=1M"}, "on a disk"},
  };
  for (const auto& [options, reason] : cases) {
    MountedPackage mount(kPkgfs, package(), options);
    expect_refused(mount);
    EXPECT_NE(mount.result().err.find(reason), std::string::npos) << mount.result().describe();
  }
  MountedPackage mount(kPkgfs, live.path(), {"--writable"});
  expect_refused(mount);
  EXPECT_NE(mount.result().err.find("pkgfs pack"), std::string::npos) << mount.result().describe();
}

TEST_F(Writable, RootOfAUserNamespaceCanMountAndSeeTheChanges) {
  if (!shell("unshare -Urm true").ok()) {
    GTEST_SKIP() << "no user namespace can be made";
  }
  const std::string line = "mkdir -p mp && " + kPkgfs + " mount --offline --writable=c " + package() +
                           " mp && echo new > mp/new && rm mp/etc/app.conf && " + kPkgfs + " changes mp && " + kPkgfs +
                           " unmount mp && ls c/upper";
  const ProcessResult result = run({"unshare", "-Urm", "--", "sh", "-ec",
                                    "cd " + dir_.path().string() +
                                        " && XDG_RUNTIME_DIR=$PWD && export "
                                        "XDG_RUNTIME_DIR && " +
                                        line});
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_EQ(result.out, "D /etc/app.conf  8 bytes\nA /new  4 bytes\netc\nnew\n") << result.describe();
}

TEST_F(Writable, AnotherUserUsesFuseOverlayfs) {
  if (!have_program("fuse-overlayfs") || !have_program("setpriv")) {
    GTEST_SKIP() << "needs fuse-overlayfs and setpriv";
  }
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0777), 0);
  // In a mount namespace of its own, everybody may open /dev/fuse, as on most machines.
  const auto as_user = [&](const std::string& line, const std::string& path = "$PATH") {
    return run({"unshare", "-m", "--", "sh", "-ec",
                std::string(kForgetOthers) + "; cd " + dir_.path().string() +
                    "; mknod -m 666 fuse c 10 229 2> /dev/null || true; mount --bind fuse /dev/fuse; " +
                    as_this_user() + "PATH=" + path + " sh -ec '" + line + "'"});
  };
  const std::string mount = kPkgfs + " mount --offline --writable " + package() + " mp";
  const ProcessResult used = as_user("mkdir -p home mp; " + mount + "; " + kPkgfs +
                                     " mounts; echo new > mp/new; echo more >> mp/etc/app.conf; "
                                     "rm mp/bin/tool; cat mp/lib/deep/a.txt; " +
                                     kPkgfs + " changes mp; " + kPkgfs + " unmount mp; ls mp");
  EXPECT_TRUE(used.ok()) << used.describe();
  EXPECT_NE(used.out.find("acme/app@1.2.3 on " + (dir_.path() / "mp").string() + " (live)\n"), std::string::npos)
      << used.out;
  EXPECT_NE(used.out.find("a\nD /bin/tool  5 bytes\nM /etc/app.conf  8 -> 13 bytes\nA /new  4 bytes\n"),
            std::string::npos)
      << used.describe();
  fs::remove_all(runs_of_user());

  const std::string without = dir_.path() / "path";
  fs::create_directory(without);
  for (const char* program : {"fusermount3", "sh", "env"}) {
    fs::create_symlink("/usr/bin/" + std::string(program), fs::path(without) / program);
  }
  const ProcessResult missing = as_user(mount, without);
  EXPECT_NE(missing.err.find("fuse-overlayfs (of the package fuse-overlayfs), which isn't"), std::string::npos)
      << missing.describe();
  EXPECT_FALSE(find_mount(dir_.path() / "mp"));
  fs::remove_all(runs_of_user());
}

}  // namespace
}  // namespace pkgfs::test
