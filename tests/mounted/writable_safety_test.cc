// SPDX-License-Identifier: MIT
// Risk: a directory that another user planted makes a writable mount remove or write files elsewhere, or what others
// mounted above it goes with it.
#include <sys/mount.h>
#include <sys/stat.h>

#include <csignal>

#include "tests/mounted/writable.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class WritableSafety : public WritableTest {
 protected:
  static constexpr const char* kId = "0123456789abcdef";

  /// A run directory in `base`, which says that the changes of a mount at `mp` are in `work`.
  void plant_run(const std::string& base) const {
    const std::string run = base + "/" + kId;
    fs::create_directories(run + "/lower");
    write(run + "/mount.json", R"({"mountpoint": ")" + (dir_.path() / "mp").string() + R"(", "changes": ")" +
                                   (dir_.path() / "work").string() +
                                   R"(", "engine": "overlay", "discards": true, "is_tmpfs": false})");
  }
  /// Runs `line` as another user in a mount namespace of its own, after `before` as root.
  [[nodiscard]] ProcessResult as_user(const std::string& line, const std::string& before = "true") const {
    return run({"unshare", "-m", "--", "sh", "-ec",
                std::string(kForgetOthers) + "; cd " + dir_.path().string() +
                    "; mknod -m 666 fuse c 10 229 2> /dev/null || true; mount --bind fuse /dev/fuse; " + before + "; " +
                    as_this_user() + "sh -ec '" + line + "'"});
  }
};

TEST_F(WritableSafety, ARecordOfAnotherUserIsNotBelieved) {
  if (!have_program("setpriv")) {
    GTEST_SKIP() << "needs setpriv";
  }
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0777), 0);
  plant_run(runs_of_user() + "/pkgfs/writable");
  const ProcessResult result =
      as_user("mkdir -p home mp work; echo mine > work/file; " + kPkgfs + " unmount mp || cat work/file");
  EXPECT_EQ(result.out, "mine\n") << result.describe();
  fs::remove_all(runs_of_user());
}

TEST_F(WritableSafety, ARecordRemovesOnlyChangesOfItsOwn) {
  fs::create_directories(dir_.path() / "mp");
  fs::create_directories(dir_.path() / "work");
  write(dir_.path() / "work/file", "mine\n");
  plant_run(kRuns);
  (void)pkgfs({"unmount", dir_.path() / "mp"});
  EXPECT_EQ(read_text(dir_.path() / "work/file"), "mine\n");
  EXPECT_FALSE(fs::exists(fs::path(kRuns) / kId));
  (void)shell("rm -rf " + std::string(kRuns) + "/" + kId);
}

TEST_F(WritableSafety, ADirectoryThatOthersCanChangeIsRefused) {
  ASSERT_TRUE(fs::create_directory(changes()));
  ASSERT_EQ(::chown(changes().c_str(), 65534, 65534), 0);
  {
    MountedPackage mount(kPkgfs, package(), kept());
    expect_refused(mount);
    EXPECT_NE(mount.result().err.find("belongs to user 65534"), std::string::npos) << mount.result().describe();
  }
  ASSERT_EQ(::chown(changes().c_str(), 0, 0), 0);
  ASSERT_EQ(::chmod(changes().c_str(), 0777), 0);
  {
    MountedPackage mount(kPkgfs, package(), kept());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    write(mount / "new", "new\n");
    EXPECT_EQ(fs::status(changes()).permissions(), fs::perms::owner_all);
  }
  ASSERT_EQ(::chmod(changes().c_str(), 0777), 0);
  {
    MountedPackage mount(kPkgfs, package(), kept());
    expect_refused(mount);
    EXPECT_NE(mount.result().err.find("chmod go-w"), std::string::npos) << mount.result().describe();
  }
  ASSERT_EQ(::chmod(changes().c_str(), 0700), 0);
  const fs::path elsewhere = dir_.path() / "elsewhere";
  ASSERT_TRUE(fs::create_directory(elsewhere));
  fs::remove_all(changes() + "/upper");
  fs::create_directory_symlink(elsewhere, changes() + "/upper");
  MountedPackage mount(kPkgfs, package(), kept());
  expect_refused(mount);
  EXPECT_NE(mount.result().err.find("isn't a directory"), std::string::npos) << mount.result().describe();
}

TEST_F(WritableSafety, AFailureLeavesAnEmptyDirectoryAsItWas) {
  ASSERT_TRUE(fs::create_directory(changes()));
  ASSERT_TRUE(shell("mount -t tmpfs -o nr_inodes=2,mode=0750 none " + changes()).ok());  // with room for one entry
  {
    MountedPackage mount(kPkgfs, package(), kept());
    expect_refused(mount);
  }
  EXPECT_EQ(shell("stat -c %a " + changes()).out, "750\n");
  EXPECT_TRUE(fs::is_empty(changes()));
  EXPECT_TRUE(shell("umount " + changes()).ok());
}

TEST_F(WritableSafety, WhatIsMountedAboveStays) {
  MountedPackage mount(kPkgfs, package(), kept());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string path = mount.path();
  const nlohmann::json stats = nlohmann::json::parse(pkgfs({"stats", "--json", path}).out);
  ASSERT_EQ(::mount("other", path.c_str(), "tmpfs", 0, nullptr), 0);
  write(mount / "file", "other\n");
  ASSERT_EQ(::kill(stats["pid"], SIGTERM), 0);
  EXPECT_TRUE(eventually([&] { return processes_with(path).empty(); }));
  EXPECT_EQ(read_text(mount / "file"), "other\n");
  EXPECT_EQ(::umount(path.c_str()), 0);
  EXPECT_TRUE(pkgfs({"unmount", path}).ok());
  EXPECT_FALSE(find_mount(path));
  EXPECT_EQ(run_of(path), "");
}

TEST_F(WritableSafety, ChangesThatOutlivedABootAreRemoved) {
  const fs::path left = fs::path(kThrownAway) / kId;
  const fs::path other = fs::path(kThrownAway) / "keep-this";
  fs::create_directories(left / "upper/deep");
  fs::create_directories(other);
  MountedPackage mount(kPkgfs, package(), {"--offline", "--writable"});
  EXPECT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::exists(other));
  fs::remove_all(left);
  fs::remove_all(other);
}

TEST_F(WritableSafety, RootAndAnotherUserMountAtTheSameTime) {
  if (!have_program("fuse-overlayfs") || !have_program("setpriv")) {
    GTEST_SKIP() << "needs fuse-overlayfs and setpriv";
  }
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0777), 0);
  const std::string roots = "mkdir roots; " + kPkgfs + " mount --offline --writable " + package() + " roots";
  const ProcessResult used = as_user("mkdir home mp; " + kPkgfs + " mount --offline --writable=c " + package() +
                                         " mp; mkdir mp/cache; echo x > mp/cache/x; chmod 555 mp/cache; " + kPkgfs +
                                         " unmount mp; " + kPkgfs + " discard c; ls -A c; echo end",
                                     roots);
  EXPECT_TRUE(used.ok()) << used.describe();
  EXPECT_EQ(used.out, "end\n") << "also directories that were read-only: " << used.describe();
  fs::remove_all(runs_of_user());
}

TEST_F(WritableSafety, ALongPathCanHoldChanges) {
  std::string path = changes();
  for (const char letter : {'a', 'b', 'c'}) {
    path += "/" + std::string(120, letter);
  }
  fs::create_directories(fs::path(path).parent_path());
  MountedPackage mount(kPkgfs, package(), {"--offline", "--writable=" + path});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  write(mount / "new", "new\n");
  EXPECT_EQ(read_text(path + "/upper/new"), "new\n");
}

TEST_F(WritableSafety, WhatAKilledMountLeftOfItsRecordIsNoObstacle) {
  ASSERT_TRUE(fs::create_directory(changes()));
  write(changes() + "/packages.lock", "old");
  write(changes() + "/record.0123abcd", "half");
  MountedPackage mount(kPkgfs, package(), kept());
  EXPECT_TRUE(mount.ok()) << mount.result().describe();
}

TEST_F(WritableSafety, ChangesOfAUserNamespaceAreListedOutsideOfIt) {
  if (!have_program("setpriv") || !shell("setpriv --reuid=" + user() + " --clear-groups unshare -Urm true").ok()) {
    GTEST_SKIP() << "no user can make a user namespace";
  }
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0777), 0);
  const ProcessResult listed = as_user(
      "mkdir home mp; unshare -Urm sh -ec \"" + kPkgfs + " mount --offline --writable=c " + package() +
      " mp; echo x >> mp/etc/app.conf; : >> mp/lib/deep/a.txt; " + kPkgfs + " unmount mp\"; " + kPkgfs + " changes c");
  EXPECT_TRUE(listed.ok()) << listed.describe();
  EXPECT_EQ(listed.out, "M /etc/app.conf  8 -> 10 bytes\n") << listed.describe();
  fs::remove_all(runs_of_user());
}

TEST_F(WritableSafety, AnOverlayWhoseProgramWasKilledIsDead) {
  if (!have_program("fuse-overlayfs") || !have_program("setpriv")) {
    GTEST_SKIP() << "needs fuse-overlayfs and setpriv";
  }
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0777), 0);
  const std::string mount = kPkgfs + " mount --offline --writable " + package() + " mp; ";
  const ProcessResult used =
      as_user("mkdir home mp; " + mount + "kill -9 $(pgrep -f \"^fuse-overlayfs .*$PWD/mp\\$\"); sleep 0.5; " + kPkgfs +
              " mounts; " + mount + "echo new > mp/new; " + kPkgfs + " mounts; " + kPkgfs + " unmount mp");
  EXPECT_TRUE(used.ok()) << used.describe();
  const std::string listed = "acme/app@1.2.3 on " + (dir_.path() / "mp").string();
  EXPECT_EQ(used.out, listed + " (dead)\n" + listed + " (live)\n") << used.describe();
  fs::remove_all(runs_of_user());
}

}  // namespace
}  // namespace pkgfs::test
