// SPDX-License-Identifier: MIT
// Risk: a live directory leaves out entries without a warning, or shows entries from outside itself.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <thread>

#include "core/base/limits.h"
#include "core/vfs/empty_file_system.h"
#include "core/vfs/host_file_system.h"
#include "core/vfs/live_overlay_file_system.h"
#include "core/vfs/walk.h"
#include "tests/support/fixtures.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::vfs {
namespace {

using test::tree_of;
using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<FileSystem> small_host(const std::filesystem::path& path) {
  return std::make_unique<HostFileSystem>(UniqueFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
                                          path.string());
}

/// From here on, `number` fails in this thread with EIO. False if that can't be arranged.
bool fail_system_call(unsigned number) {
  std::array<sock_filter, 4> program{{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                                      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
                                      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
                                      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}};
  const sock_fprog filter{.len = program.size(), .filter = program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST(HostFileSystem, AListingThatFailsIsNoShortListing) {
  const test::TempDir dir;
  dir.write("f", "x");
  const auto fs = small_host(dir.path());
  bool arranged = false;
  int error = 0;
  std::thread([&] {
    arranged = fail_system_call(SYS_getdents64);
    const Result<void> listed = fs->read_dir(fs->root(), 0, [](const DirEntry&) { return true; });
    error = listed ? 0 : listed.error();
  }).join();
  if (!arranged) {
    GTEST_SKIP() << "no seccomp here";
  }
  EXPECT_EQ(error, EIO);
}

TEST(HostFileSystem, AnEntryThatCannotBeAskedIsListedWithItsError) {
  const test::TempDir dir;
  dir.write("f", "x");
  const auto fs = small_host(dir.path());
  bool arranged = false;
  int error = 0;
  std::thread([&] {
    arranged = fail_system_call(SYS_statx);
    (void)fs->read_dir(fs->root(), 0, [&](const DirEntry& entry) {
      error = entry.error;
      return true;
    });
  }).join();
  if (!arranged) {
    GTEST_SKIP() << "no seccomp here";
  }
  EXPECT_EQ(error, EIO);
}

TEST(HostFileSystem, WhatIsMountedInsideIsNeitherShownNorEntered) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can mount";
  }
  const test::TempDir dir;
  dir.write("d/f", "x");
  dir.write("d/under/g", "y");
  const auto fs = small_host(dir.path());
  const auto known = find_path(*fs, "/d/under");
  ASSERT_TRUE(known);
  const auto inside = fs->lookup(known->inode, "g");
  ASSERT_TRUE(inside);
  fs->forget(inside->inode, 1);
  const auto tmpfs = dir.path() / "d/under";
  ASSERT_EQ(::mount("tmpfs", tmpfs.c_str(), "tmpfs", 0, nullptr), 0);
  dir.write("d/under/h", "z");
  EXPECT_THAT(tree_of(*fs), ElementsAre("/d/", "/d/f=x"));
  EXPECT_FALSE(find_path(*fs, "/d/under"));
  EXPECT_FALSE(fs->lookup(known->inode, "h"));
  EXPECT_FALSE(fs->metadata(known->inode));
  fs->forget(known->inode, 1);
  EXPECT_EQ(::umount2(tmpfs.c_str(), MNT_DETACH), 0);
  // A bind mount has the same device.
  ASSERT_EQ(::mount(dir.path().c_str(), tmpfs.c_str(), nullptr, MS_BIND, nullptr), 0);
  EXPECT_THAT(tree_of(*fs), ElementsAre("/d/", "/d/f=x"));
  EXPECT_EQ(::umount2(tmpfs.c_str(), MNT_DETACH), 0);
  EXPECT_THAT(tree_of(*fs), ElementsAre("/d/", "/d/f=x", "/d/under/", "/d/under/g=y")) << "as before";
  EXPECT_THAT(tree_of(*small_host(tmpfs)), ElementsAre("/g=y"));
}

TEST(LiveOverlayFileSystem, MoreLayersThanAnInodeCanNameAreRefused) {
  const auto layers = [](std::size_t count) {
    std::vector<Layer> list(count);
    for (Layer& layer : list) {
      layer.fs = std::make_unique<EmptyFileSystem>();
      layer.live = true;
    }
    return list;
  };
  EXPECT_NO_THROW(LiveOverlayFileSystem(layers(limits::kLiveLayers), {}));
  try {
    const LiveOverlayFileSystem fs(layers(limits::kLiveLayers + 1), {});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), HasSubstr(std::to_string(limits::kLiveLayers)));
  }
}

}  // namespace
}  // namespace pkgfs::vfs
