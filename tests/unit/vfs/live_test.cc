// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "core/vfs/host_file_system.h"
#include "core/vfs/union_file_system.h"
#include "core/vfs/walk.h"
#include "tests/support/fixtures.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::vfs {
namespace {

using test::mount_of;
using test::tree_of;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<FileSystem> host(const std::filesystem::path& path) {
  return std::make_unique<HostFileSystem>(UniqueFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
                                          path.string());
}

std::unique_ptr<FileSystem> union_of(std::vector<Mount> mounts, Conflicts conflicts = Conflicts::kMerge) {
  return make_union_file_system(std::move(mounts), {.conflicts = conflicts});
}

TEST(HostFileSystem, ShowsFilesDirectoriesAndLinksOnly) {
  const test::TempDir dir;
  dir.write("d/f", "content");
  std::filesystem::create_symlink("f", dir.path() / "d/l");
  ASSERT_EQ(::mkfifo((dir.path() / "pipe").c_str(), 0600), 0);
  const auto fs = host(dir.path());
  EXPECT_THAT(tree_of(*fs), ElementsAre("/d/", "/d/f=content", "/d/l->f"));
  EXPECT_EQ(fs->lookup(fs->root(), "pipe").error(), ENOENT);
}

TEST(HostFileSystem, NoNameLeadsOut) {
  const test::TempDir dir;
  dir.write("in/f", "in");
  dir.write("secret", "out");
  std::filesystem::create_directory_symlink("..", dir.path() / "in/up");
  const auto fs = host(dir.path() / "in");
  EXPECT_EQ(fs->lookup(fs->root(), "..").error(), ENOENT);
  EXPECT_EQ(fs->lookup(fs->root(), "../secret").error(), ENOENT);
  EXPECT_EQ(fs->lookup(fs->root(), "up/secret").error(), ENOENT);
  const auto up = fs->lookup(fs->root(), "up");
  ASSERT_TRUE(up);
  EXPECT_FALSE(fs->lookup(up->inode, "secret"));
  EXPECT_FALSE(fs->open(up->inode));
  fs->forget(up->inode, 1);
}

TEST(HostFileSystem, ADirectoryReplacedByALinkIsGone) {
  const test::TempDir dir;
  dir.write("in/d/f", "in");
  dir.write("out/f", "out");
  const auto fs = host(dir.path() / "in");
  const auto inside = find_path(*fs, "/d");
  ASSERT_TRUE(inside);
  std::filesystem::remove_all(dir.path() / "in/d");
  std::filesystem::create_directory_symlink("../out", dir.path() / "in/d");
  EXPECT_FALSE(fs->lookup(inside->inode, "f"));
  fs->forget(inside->inode, 1);
}

TEST(LiveUnion, EditsShowAtOnceAndMergeWithPackages) {
  const test::TempDir dir;
  dir.write("f", "old");
  std::vector<Mount> mounts;
  mounts.push_back(test::live_mount(dir.path(), "/app"));
  mounts.push_back(mount_of("dep", "/app", {{"/f", "package"}, {"/g", "package"}, {"/s/x", "1"}}));
  const auto fs = union_of(std::move(mounts));
  EXPECT_THAT(tree_of(*fs), ElementsAre("/app/", "/app/f=old", "/app/g=package", "/app/s/", "/app/s/x=1"));
  dir.write("f", "new");
  dir.write("s/y", "2");
  dir.write("h", "3");
  EXPECT_THAT(tree_of(*fs),
              ElementsAre("/app/", "/app/f=new", "/app/g=package", "/app/h=3", "/app/s/", "/app/s/x=1", "/app/s/y=2"));
  std::filesystem::remove(dir.path() / "f");
  EXPECT_THAT(tree_of(*fs), Contains("/app/f=package"));
}

TEST(LiveUnion, ADeeperPackageMountIsAboveALiveDirectory) {
  const test::TempDir dir;
  dir.write("lib/x", "host");
  dir.write("lib/y", "host");
  std::vector<Mount> mounts;
  mounts.push_back(test::live_mount(dir.path(), "/"));
  mounts.push_back(mount_of("dep", "/lib", {{"/x", "package"}}));
  EXPECT_THAT(tree_of(*union_of(std::move(mounts))), ElementsAre("/lib/", "/lib/x=package", "/lib/y=host"));
}

TEST(LiveUnion, LinksStayInside) {
  const test::TempDir dir;
  dir.write("d/f", "x");
  std::filesystem::create_symlink("/etc/passwd", dir.path() / "d/abs");
  std::filesystem::create_symlink("../../../up", dir.path() / "d/climb");
  std::vector<Mount> mounts;
  mounts.push_back(test::live_mount(dir.path(), "/m"));
  EXPECT_THAT(tree_of(*union_of(std::move(mounts))),
              ElementsAre("/m/", "/m/d/", "/m/d/abs->../etc/passwd", "/m/d/climb->../up", "/m/d/f=x"));
}

TEST(LiveUnion, OneInodeForOneEntryAsLongAsItIsKnown) {
  const test::TempDir dir;
  dir.write("d/f", "x");
  std::vector<Mount> mounts;
  mounts.push_back(test::live_mount(dir.path(), "/m"));
  const auto fs = union_of(std::move(mounts));
  const auto first = find_path(*fs, "/m/d/f");
  const auto second = find_path(*fs, "/m/d/f");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->inode, second->inode);
  EXPECT_TRUE(first->attributes.live);
  fs->forget(first->inode, 2);
}

TEST(LiveUnion, ConflictsAreFound) {
  const test::TempDir dir;
  dir.write("d/f", "x");
  std::vector<Mount> mounts;
  mounts.push_back(test::live_mount(dir.path(), "/m"));
  mounts.push_back(mount_of("dep", "/m", {{"/d/f", "package"}}));
  try {
    (void)union_of(std::move(mounts), Conflicts::kError);
    FAIL() << "the conflict went unnoticed";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("\"/m/d/f\" of live"));
  }
}

TEST(LiveUnion, ShadowHidesPackagesBelowALiveMount) {
  const test::TempDir dir;
  dir.write("f", "x");
  std::vector<Mount> mounts;
  mounts.push_back(test::live_mount(dir.path(), "/lib/m"));
  mounts.push_back(mount_of("dep", "/lib", {{"/m/hidden", "1"}, {"/seen", "2"}}));
  EXPECT_THAT(tree_of(*union_of(std::move(mounts), Conflicts::kShadow)),
              ElementsAre("/lib/", "/lib/m/", "/lib/m/f=x", "/lib/seen=2"));
}

}  // namespace
}  // namespace pkgfs::vfs
