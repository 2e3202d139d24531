// SPDX-License-Identifier: MIT
// Risk: df, stat and overlays get numbers that make no sense (docs/rules/filesystem.md, 9.5).
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

class StatFs : public MountedTest {};

TEST_F(StatFs, CountsWhatIsVisible) {
  MountedPackage mount(kPkgfs, single("many-v3"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  std::uint64_t bytes = 0;
  const Tree tree = list_tree(mount.path());
  for (const auto& [path, entry] : tree) {
    bytes += entry.type == "dir" ? 0 : entry.length;
  }
  struct statvfs status{};
  ASSERT_EQ(::statvfs(mount.path().c_str(), &status), 0);
  EXPECT_EQ(status.f_bsize, 4096U);
  EXPECT_EQ(status.f_frsize, 4096U);
  EXPECT_EQ(status.f_blocks, (bytes + 4095) / 4096);
  EXPECT_EQ(status.f_bfree, 0U);
  EXPECT_EQ(status.f_bavail, 0U);
  EXPECT_EQ(status.f_files, tree.size() + 1) << "every entry and the root";
  EXPECT_EQ(status.f_ffree, 0U);
  EXPECT_EQ(status.f_namemax, 255U);
  EXPECT_NE(status.f_flag & ST_RDONLY, 0U);
  EXPECT_NE(status.f_flag & ST_NOSUID, 0U);
  EXPECT_NE(status.f_flag & ST_NODEV, 0U);
}

TEST_F(StatFs, AttributesOfEveryKindOfEntry) {
  MountedPackage mount(kPkgfs, single("symlinks-v3"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const auto check = [&](const std::string& name, mode_t mode, off_t size, blkcnt_t blocks) {
    struct stat status{};
    ASSERT_EQ(::lstat((mount / name).c_str(), &status), 0) << name;
    EXPECT_EQ(status.st_mode, mode) << name;
    EXPECT_EQ(status.st_size, size) << name;
    EXPECT_EQ(status.st_blocks, blocks) << name;
    EXPECT_EQ(status.st_nlink, 1U) << name;
    EXPECT_EQ(status.st_uid, ::geteuid()) << name;
    EXPECT_EQ(status.st_gid, ::getegid()) << name;
    EXPECT_EQ(status.st_blksize, 4096) << name;
    EXPECT_EQ(status.st_mtim.tv_sec, status.st_ctim.tv_sec) << name;
    EXPECT_EQ(status.st_mtim.tv_sec, status.st_atim.tv_sec) << name;
    EXPECT_GE(status.st_mtim.tv_sec, 1) << name;
  };
  check("", S_IFDIR | 0755, 4096, 0);
  check("data", S_IFDIR | 0755, 4096, 0);
  check("data/real.txt", S_IFREG | 0644, 4, 1);
  check("data/link.txt", S_IFLNK | 0777, 8, 0);
  struct stat root{};
  ASSERT_EQ(::stat(mount.path().c_str(), &root), 0);
  EXPECT_EQ(root.st_ino, 1U);
}

TEST_F(StatFs, OwnerAndModeOptions) {
  MountedPackage mount(kPkgfs, single("basic-v3"), {"--no-commands", "-o", "uid=12,gid=34,fmask=0222,dmask=0027"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  struct stat status{};
  ASSERT_EQ(::stat((mount / "data").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 12U);
  EXPECT_EQ(status.st_gid, 34U);
  EXPECT_EQ(status.st_mode & 07777U, 0750U);
  for (const auto& [path, entry] : list_tree(mount.path())) {
    if (entry.type == "file") {
      ASSERT_EQ(::stat((mount.path().string() + path).c_str(), &status), 0);
      EXPECT_EQ(status.st_mode & 07777U, 0444U) << path;
    }
  }
}

}  // namespace
}  // namespace pkgfs::test
