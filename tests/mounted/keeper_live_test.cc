// SPDX-License-Identifier: MIT
// Risk: the daemon of a mount with live directories is killed, and programs that use them get errors, the bytes of
// another file, or what was true before.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "core/base/unique_fd.h"
#include "tests/mounted/keeper.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class KeeperLive : public KeeperTest {
 protected:
  void SetUp() override {
    KeeperTest::SetUp();
    dir_.write("own/wasmer.toml", "[fs]\n\"/app\" = \"app\"\n\"/lib\" = \"lib\"\n");
    for (int i = 0; i < 40; ++i) {
      dir_.write("own/app/d" + std::to_string(i % 4) + "/f" + std::to_string(i), "text " + std::to_string(i));
    }
    dir_.write("own/lib/deep/er/file", "deep");
    fs::create_symlink("d1/f1", dir_.path() / "own/app/link");
  }
  [[nodiscard]] fs::path own(const std::string& path = "") const { return dir_.path() / "own" / path; }
  void replace(const std::string& path, const std::string& text) const {
    dir_.write("new", text);
    fs::rename(dir_.path() / "new", own(path));
  }
  static std::string read_of(int fd) {
    if (fd < 0) {
      return std::strerror(errno);
    }
    std::array<char, 64> text{};
    const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
    return size < 0 ? std::strerror(errno) : std::string(text.data(), static_cast<std::size_t>(size));
  }
  static std::string text_at(const fs::path& path, int directory = AT_FDCWD) {
    const UniqueFd fd(::openat(directory, path.c_str(), O_RDONLY | O_CLOEXEC));
    return read_of(fd.get());
  }
  static void expect_text(const fs::path& path, const std::string& text) {
    std::string seen;
    EXPECT_TRUE(eventually([&] { return (seen = text_at(path)) == text; }, seconds(5))) << path << ": " << seen;
  }
  /// Reads without the pages that the kernel has, which would hide what the daemon answers.
  static std::string read_anew(const UniqueFd& fd) {
    EXPECT_EQ(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
    return read_of(fd.get());
  }
  static UniqueFd opened(const fs::path& path, int flags = O_RDONLY) {
    UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC));
    EXPECT_TRUE(fd) << path << ": " << std::strerror(errno);
    return fd;
  }
  /// Kills the daemon, and calls `edit` before a successor can start.
  template <typename Edit>
  void edit_without_a_daemon(const fs::path& mount, const Edit& edit) {
    const Serving before = kept(mount);
    ASSERT_EQ(::kill(before.keeper, SIGSTOP), 0);
    ASSERT_EQ(::kill(before.daemon, SIGKILL), 0);
    edit();
    ASSERT_EQ(::kill(before.keeper, SIGCONT), 0);
    EXPECT_TRUE(eventually([&] { return serving(mount).generation == before.generation + 1; }));
    kept(mount);
  }

  TempDir dir_;
};

TEST_F(KeeperLive, WhatProgramsHoldGoesOn) {
  for (const char* timeout : {"1", "0"}) {
    SCOPED_TRACE(timeout);
    const MountedPackage mount(kPkgfs, own(), {std::string("--live-timeout=") + timeout});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    EXPECT_EQ(kept(mount.path()).generation, 1);
    const UniqueFd file = opened(mount / "app/d1/f1");
    const UniqueFd directory = opened(mount / "lib/deep", O_PATH | O_DIRECTORY);
    const TempDir sign;
    Process inside({"/bin/sh", "-c",
                    "cd \"$1/app/d2\" && echo go && until test -e \"$2/go\"; do sleep 0.01; done && "
                    "cat f2 && cat ../link && ls",
                    "sh", mount.path(), sign.path()});
    ASSERT_TRUE(eventually([&] { return inside.out() == "go\n"; })) << inside.err();
    struct stat before{};
    ASSERT_EQ(::stat((mount / "app/d3").c_str(), &before), 0);
    for (int kills = 1; kills <= 3; ++kills) {
      EXPECT_EQ(replace_daemon(mount.path()).generation, 1 + kills);
      EXPECT_EQ(read_anew(file), "text 1");
      EXPECT_EQ(text_at("er/file", directory.get()), "deep");
      struct stat after{};
      ASSERT_EQ(::stat((mount / "app/d3").c_str(), &after), 0);
      EXPECT_EQ(before.st_ino, after.st_ino);
      ASSERT_EQ(::fstat(file.get(), &after), 0) << std::strerror(errno);
      EXPECT_EQ(text_at(mount / "app/link"), "text 1");
      EXPECT_EQ(fs::read_symlink("/proc/self/fd/" + std::to_string(directory.get())), mount / "lib/deep")
          << "it was looked up as another directory";
    }
    sign.write("go", "");
    EXPECT_TRUE(inside.wait().ok()) << inside.wait().describe();
    EXPECT_EQ(inside.out(), "go\ntext 2text 1f10\nf14\nf18\nf2\nf22\nf26\nf30\nf34\nf38\nf6\n");
  }
}

TEST_F(KeeperLive, ReadersOfFilesThatDontChangeSeeNoErrors) {
  constexpr int kTimes = 10;
  ASSERT_TRUE(run({"cp", "-r", source(), own("data")}).ok());
  dir_.write("own/wasmer.toml", "[fs]\n\"/\" = \"data\"\n");
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ComparingReader reader(mount.path(), own("data"));
  for (int i = 0; i < kTimes && !HasFailure(); ++i) {
    sleep_ms(20 + 13 * i);
    EXPECT_EQ(replace_daemon(mount.path()).generation, i + 2);
  }
  reader.expect_right();
}

TEST_F(KeeperLive, EditsThatNoDaemonSawShow) {
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  sleep_ms(3'000);  // the kernel may keep what it is told now
  const UniqueFd edited = opened(mount / "app/d1/f1");
  EXPECT_EQ(read_of(edited.get()), "text 1");
  EXPECT_EQ(text_at(mount / "app/d1/f5"), "text 5");
  EXPECT_EQ(text_at(mount / "app/link"), "text 1");
  EXPECT_EQ(text_at(mount / "app/new"), std::strerror(ENOENT));
  EXPECT_TRUE(fs::exists(mount / "app/d2/f2"));
  edit_without_a_daemon(mount.path(), [&] {
    dir_.write("own/app/d1/f1", "edited");
    replace("app/d1/f5", "another");
    dir_.write("own/app/new", "new");
    fs::remove(own("app/d2/f2"));
    fs::remove(own("app/link"));
    fs::create_symlink("d1/f9", own("app/link"));
    fs::rename(own("lib/deep"), own("lib/other"));
  });
  expect_text(mount / "app/d1/f1", "edited");
  expect_text(mount / "app/d1/f5", "another");
  expect_text(mount / "app/new", "new");
  expect_text(mount / "app/d2/f2", std::strerror(ENOENT));
  expect_text(mount / "app/link", "text 9");
  expect_text(mount / "lib/deep/er/file", std::strerror(ENOENT));
  expect_text(mount / "lib/other/er/file", "deep");
  EXPECT_TRUE(eventually([&] { return read_anew(edited) == "edited"; })) << "it is the same file";
  dir_.write("own/app/d1/f13", "after it");
  expect_text(mount / "app/d1/f13", "after it");
}

TEST_F(KeeperLive, WhatIsGoneIsStaleAndNeverAnotherFile) {
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const UniqueFd removed = opened(mount / "app/d1/f1");
  const UniqueFd replaced = opened(mount / "app/d1/f5");
  const UniqueFd moved = opened(mount / "app/d1/f9");
  const UniqueFd directory = opened(mount / "app/d2", O_PATH | O_DIRECTORY);
  const UniqueFd other = opened(mount / "lib/deep/er/file");
  edit_without_a_daemon(mount.path(), [&] {
    fs::remove(own("app/d1/f1"));
    replace("app/d1/f5", "another file of the name");
    fs::rename(own("app/d1/f9"), own("app/d1/moved"));
    fs::rename(own("app/d2"), own("app/d2.old"));  // so that the new one has another number
    dir_.write("own/app/d2/f2", "of the new directory");
  });
  for (const UniqueFd* fd : {&removed, &replaced, &moved}) {
    EXPECT_EQ(read_anew(*fd), std::strerror(ESTALE));
  }
  EXPECT_EQ(text_at("f2", directory.get()), std::strerror(ESTALE));
  EXPECT_EQ(read_anew(other), "deep");
  expect_text(mount / "app/d1/f5", "another file of the name");
  expect_text(mount / "app/d1/moved", "text 9");
  expect_text(mount / "app/d2/f2", "of the new directory");
  EXPECT_EQ(replace_daemon(mount.path()).generation, 3);
  EXPECT_EQ(read_anew(replaced), std::strerror(ESTALE)) << "it became another file";
  expect_text(mount / "app/d2/f2", "of the new directory");
}

TEST_F(KeeperLive, AMountBelowAnUnchangedDirectoryStays) {
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  if (!run({"mount", "--bind", own("lib"), mount / "app/d3"}).ok()) {
    GTEST_SKIP() << "only root can mount over a directory of the mount";
  }
  edit_without_a_daemon(mount.path(), [&] { dir_.write("own/app/d1/f1", "edited"); });
  expect_text(mount / "app/d1/f1", "edited");
  EXPECT_EQ(text_at(mount / "app/d3/deep/er/file"), "deep");
  EXPECT_TRUE(run({"umount", mount / "app/d3"}).ok());
}

TEST_F(KeeperLive, TheManifestAndTheModulesStayThoseOfTheMount) {
  dir_.write("own/m.wasm", "module");
  const std::string manifest =
      "[package]\nname = \"acme/own\"\nversion = \"1.0.0\"\ndescription = \"d\"\n"
      "[[module]]\nname = \"m\"\nsource = \"m.wasm\"\n"
      "[[command]]\nname = \"run\"\nmodule = \"m\"\n[fs]\n";
  dir_.write("own/wasmer.toml", manifest + "\"/app\" = \"app\"\n");
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const UniqueFd command = opened(mount / "bin/run");
  edit_without_a_daemon(mount.path(), [&] {
    replace("m.wasm", "another module");
    replace("wasmer.toml", manifest + "\"/other\" = \"lib\"\n");
  });
  EXPECT_EQ(read_anew(command), "module");
  EXPECT_EQ(text_at(mount / "bin/run"), "module");
  EXPECT_EQ(text_at(mount / "app/d1/f1"), "text 1");
  EXPECT_FALSE(fs::exists(mount / "other"));
  // A mapped directory that is made anew is followed, also by a successor.
  edit_without_a_daemon(mount.path(), [&] {
    fs::rename(own("app"), own("app.old"));
    dir_.write("own/app/fresh", "fresh");
  });
  expect_text(mount / "app/fresh", "fresh");
  expect_text(mount / "app/d1/f1", std::strerror(ENOENT));
}

TEST_F(KeeperLive, WhereTheKernelDoesNotResendItGoesOnToo) {
  ProcessOptions environment;
  environment.environment = {{"PKGFS_TEST_NO_RESEND", "1"}};
  const MountedPackage mount(kPkgfs, own(), {}, environment);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const UniqueFd file = opened(mount / "app/d1/f1");
  EXPECT_EQ(replace_daemon(mount.path()).generation, 2);
  EXPECT_EQ(read_anew(file), "text 1");
}

TEST_F(KeeperLive, AnUpgradeGoesOnToo) {
  for (const fs::path& program : {fs::path(kPkgfs), fs::path(kPkgfs).parent_path() / "pkgfs-keeper"}) {
    fs::copy_file(program, dir_.path() / program.filename());
  }
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  kept(mount.path());
  const UniqueFd file = opened(mount / "app/d1/f1");
  const ProcessResult upgraded = run({dir_.path() / "pkgfs", "upgrade-mounts", mount.path()});
  ASSERT_TRUE(upgraded.ok()) << upgraded.describe();
  EXPECT_EQ(kept(mount.path()).generation, 2);
  EXPECT_EQ(read_anew(file), "text 1");
  const UniqueFd later = opened(mount / "app/d2/f2");
  EXPECT_EQ(replace_daemon(mount.path()).generation, 3);
  EXPECT_EQ(read_anew(file), "text 1");
  EXPECT_EQ(read_anew(later), "text 2");
}

}  // namespace
}  // namespace pkgfs::test
