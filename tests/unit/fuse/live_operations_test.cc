// SPDX-License-Identifier: MIT
// Risk: new bytes of a live file are read under its old size, or a program gets an error that is meant for the kernel.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "core/vfs/host_file_system.h"
#include "core/vfs/host_watcher.h"
#include "core/vfs/live_changes.h"
#include "core/vfs/union_file_system.h"
#include "fuse/adapter.h"
#include "tests/support/fixtures.h"
#include "tests/support/fuse/kernel.h"

namespace pkgfs::fuse {
namespace {

using test::Reply;

std::unique_ptr<vfs::FileSystem> live_tree(const std::filesystem::path& path) {
  vfs::Mount mount;
  mount.fs = std::make_unique<vfs::HostFileSystem>(UniqueFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
                                                   path.string());
  mount.mount_path = "/";
  mount.package = "live";
  mount.volume = "host";
  mount.live = true;
  std::vector<vfs::Mount> mounts;
  mounts.push_back(std::move(mount));
  return vfs::make_union_file_system(std::move(mounts), {});
}

class LiveProtocol : public testing::Test {
 protected:
  LiveProtocol()
      : tree_(live_tree(dir_.path())), adapter_(*tree_, statistics_, {.usage = [] { return Usage{}; }, .stats = {}}) {
    dir_.write("f", "one");
    try {
      kernel_.emplace(adapter_);
      kernel_->use_thread(7);
    } catch (const test::Kernel::Unavailable& error) {
      missing_ = error.what();
    }
  }
  void SetUp() override {
    if (!kernel_) {
      GTEST_SKIP() << missing_;
    }
  }

  Reply open(std::uint64_t node, fuse_opcode opcode = FUSE_OPEN) {
    const fuse_open_in how{};
    Reply reply = kernel_->ask(opcode, node, &how, sizeof(how));
    if (reply.error == 0) {
      fuse_release_in release{};
      release.fh = reply.as<fuse_open_out>().fh;
      kernel_->ask(opcode == FUSE_OPEN ? FUSE_RELEASE : FUSE_RELEASEDIR, node, &release, sizeof(release));
    }
    return reply;
  }
  Reply getattr(std::uint64_t node) {
    const fuse_getattr_in in{};
    return kernel_->ask(FUSE_GETATTR, node, &in, sizeof(in));
  }
  /// As if a ChangeNotifier had been started.
  void watch() {
    tree_->changes()->start(std::make_unique<vfs::HostWatcher>(), [] {});
    ASSERT_NE(tree_->changes()->watcher()->descriptor(), -1) << "no inotify";
  }
  /// How many descriptors of this process lead to `name` of the directory.
  [[nodiscard]] std::size_t descriptors(const std::string& name) const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code none;
      count += std::filesystem::read_symlink(entry.path(), none) == dir_.path() / name ? 1 : 0;
    }
    return count;
  }
  void replace(const std::string& text) const {
    dir_.write("t", text);
    std::filesystem::rename(dir_.path() / "t", dir_.path() / "f");
  }

  test::TempDir dir_;
  std::unique_ptr<vfs::FileSystem> tree_;
  Statistics statistics_;
  Adapter adapter_;
  std::optional<test::Kernel> kernel_;
  std::string missing_;
};

TEST_F(LiveProtocol, AnOpenOfAChangedFileSendsTheKernelBackOnce) {
  const std::uint64_t file = kernel_->node(FUSE_ROOT_ID, "f");
  EXPECT_EQ(open(file).error, 0);
  dir_.write("f", "and longer");
  EXPECT_EQ(open(file).error, ESTALE);
  EXPECT_EQ(kernel_->lookup(FUSE_ROOT_ID, "f").as<fuse_entry_out>().attr.size, 10U);
  EXPECT_EQ(open(file).error, 0);
  dir_.write("f", "changes all the time");
  EXPECT_EQ(open(file).error, ESTALE);
  dir_.write("f", "even while the path is looked up");
  const Reply second = open(file);
  EXPECT_EQ(second.error, 0) << "a program would see a second ESTALE";
  EXPECT_EQ(second.as<fuse_open_out>().open_flags & FOPEN_KEEP_CACHE, 0U);
  EXPECT_EQ(statistics_.snapshot()[Request::kOpen].failures.at(static_cast<std::size_t>(Failure::kStale)), 0U)
      << "no program saw it";
}

TEST_F(LiveProtocol, AThreadWithoutANumberIsNeverSentBack) {
  const std::uint64_t file = kernel_->node(FUSE_ROOT_ID, "f");
  dir_.write("f", "and longer");
  kernel_->use_thread(0);
  EXPECT_EQ(open(file).error, 0);
}

TEST_F(LiveProtocol, AnotherFileOfTheNameIsAnotherNode) {
  const std::uint64_t old = kernel_->node(FUSE_ROOT_ID, "f");
  replace("two");
  EXPECT_EQ(open(old).error, ESTALE);
  const std::uint64_t fresh = kernel_->node(FUSE_ROOT_ID, "f");
  EXPECT_NE(fresh, old);
  EXPECT_EQ(open(fresh).error, 0);
}

TEST_F(LiveProtocol, AnOpenFileThatWasReplacedKeepsItsAttributes) {
  const std::uint64_t old = kernel_->node(FUSE_ROOT_ID, "f");
  const fuse_open_in how{};
  const Reply opened = kernel_->ask(FUSE_OPEN, old, &how, sizeof(how));
  ASSERT_EQ(opened.error, 0);
  replace("another length");
  EXPECT_EQ(getattr(old).as<fuse_attr_out>().attr.size, 3U);
  std::filesystem::remove(dir_.path() / "f");
  EXPECT_EQ(getattr(old).as<fuse_attr_out>().attr.size, 3U);
  fuse_release_in release{};
  release.fh = opened.as<fuse_open_out>().fh;
  kernel_->ask(FUSE_RELEASE, old, &release, sizeof(release));
  EXPECT_EQ(getattr(old).error, ENOENT);
}

TEST_F(LiveProtocol, AFileThatIsReplacedAllTheTimeHasAttributesAndOpens) {
  for (const std::uint32_t thread : {7, 0}) {
    SCOPED_TRACE(thread);
    kernel_->use_thread(thread);
    const std::uint64_t old = kernel_->node(FUSE_ROOT_ID, "f");
    replace("another length");
    EXPECT_EQ(getattr(old).error, ESTALE);
    EXPECT_EQ(open(old).error, ESTALE);
    const auto entry = kernel_->lookup(FUSE_ROOT_ID, "f").as<fuse_entry_out>();
    EXPECT_NE(entry.nodeid, old);
    replace("again, before the kernel comes to the open");
    const Reply reply = getattr(entry.nodeid);
    ASSERT_EQ(reply.error, 0) << "the kernel looks the path up anew only once";
    const auto attributes = reply.as<fuse_attr_out>();
    EXPECT_EQ(attributes.attr.size, 14U);
    EXPECT_EQ(attributes.attr.ino, entry.attr.ino);
    EXPECT_EQ(attributes.attr_valid, 0U);
    const fuse_open_in how{};
    const Reply opened = kernel_->ask(FUSE_OPEN, entry.nodeid, &how, sizeof(how));
    ASSERT_EQ(opened.error, 0) << "a program would see ESTALE";
    fuse_read_in read{};
    read.fh = opened.as<fuse_open_out>().fh;
    read.size = 100;
    EXPECT_EQ(kernel_->ask(FUSE_READ, entry.nodeid, &read, sizeof(read)).body, "another length");
    fuse_release_in release{};
    release.fh = read.fh;
    kernel_->ask(FUSE_RELEASE, entry.nodeid, &release, sizeof(release));
    EXPECT_EQ(open(entry.nodeid).error, ESTALE) << "the name leads to another file";
    std::filesystem::remove(dir_.path() / "f");
    EXPECT_EQ(getattr(old).error, ENOENT);
    replace("for the next thread");
  }
}

TEST_F(LiveProtocol, AnOpenFileThatWasReplacedOpensAgainThroughItsDescriptor) {
  const std::uint64_t old = kernel_->node(FUSE_ROOT_ID, "f");
  const fuse_open_in how{};
  const Reply opened = kernel_->ask(FUSE_OPEN, old, &how, sizeof(how));
  ASSERT_EQ(opened.error, 0);
  replace("another length");
  EXPECT_EQ(open(old).error, ESTALE) << "it may be an open by the path";
  EXPECT_EQ(open(old).error, 0) << "the kernel hasn't looked it up: there is no path";
  fuse_release_in release{};
  release.fh = opened.as<fuse_open_out>().fh;
  kernel_->ask(FUSE_RELEASE, old, &release, sizeof(release));
}

TEST_F(LiveProtocol, AFileWithTheNumberOfTheOldOneIsAnotherNode) {
  const std::uint64_t old = kernel_->node(FUSE_ROOT_ID, "f");
  std::vector<std::filesystem::path> others;
  struct stat before{};
  ASSERT_EQ(::stat((dir_.path() / "f").c_str(), &before), 0);
  std::filesystem::remove(dir_.path() / "f");
  for (int i = 0; i < 100; ++i) {  // a file system that gives numbers again does so soon
    const std::filesystem::path path = dir_.write("t" + std::to_string(i), "two");
    struct stat status{};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    if (status.st_ino == before.st_ino) {
      std::filesystem::rename(path, dir_.path() / "f");
      EXPECT_EQ(open(old).error, ESTALE);
      EXPECT_NE(kernel_->node(FUSE_ROOT_ID, "f"), old);
      return;
    }
  }
  GTEST_SKIP() << "this file system gives no number again";
}

TEST_F(LiveProtocol, AnOpenIsRefusedOnceEvenIfTheKernelAsksForAttributesInBetween) {
  const std::uint64_t file = kernel_->node(FUSE_ROOT_ID, "f");
  dir_.write("f", "changes");
  EXPECT_EQ(open(file).error, ESTALE);
  EXPECT_EQ(kernel_->lookup(FUSE_ROOT_ID, "f").as<fuse_entry_out>().nodeid, file);
  EXPECT_EQ(getattr(file).error, 0) << "the kernel checks permissions";
  dir_.write("f", "changes again");
  EXPECT_EQ(open(file).error, 0);
}

TEST_F(LiveProtocol, AFileThatBecameADirectoryIsLookedUpAnew) {
  const std::uint64_t file = kernel_->node(FUSE_ROOT_ID, "f");
  std::filesystem::remove(dir_.path() / "f");
  std::filesystem::create_directories(dir_.path() / "f");
  EXPECT_EQ(getattr(file).error, ESTALE);
  EXPECT_EQ(open(kernel_->node(FUSE_ROOT_ID, "f"), FUSE_OPENDIR).error, 0);
  EXPECT_EQ(open(file).error, ESTALE);
}

TEST_F(LiveProtocol, AClosedFileIsOpenedAgainWithoutItsPath) {
  watch();
  const std::uint64_t file = kernel_->node(FUSE_ROOT_ID, "f");
  EXPECT_EQ(open(file).error, 0);
  EXPECT_EQ(descriptors("f"), 1U);
  EXPECT_EQ(open(file).error, 0);
  EXPECT_EQ(descriptors("f"), 1U);
  EXPECT_TRUE(tree_->changes()->end_old_files());
  EXPECT_EQ(descriptors("f"), 1U);
  dir_.write("other", "1");
  tree_->changes()->collect();
  EXPECT_FALSE(tree_->changes()->end_old_files());
  EXPECT_EQ(descriptors("f"), 0U) << "the host has reported a change";
}

TEST_F(LiveProtocol, AKeptFileIsNotOpenedAfterItsNameLedElsewhere) {
  watch();
  const std::uint64_t old = kernel_->node(FUSE_ROOT_ID, "f");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(open(old).error, 0);
  }
  replace("two");
  EXPECT_EQ(open(old).error, ESTALE);
  const std::uint64_t fresh = kernel_->node(FUSE_ROOT_ID, "f");
  EXPECT_NE(fresh, old);
  EXPECT_EQ(open(fresh).error, 0);
  EXPECT_EQ(open(fresh).error, 0);
  std::filesystem::rename(dir_.path() / "f", dir_.path() / "g");
  EXPECT_EQ(open(fresh).error, ESTALE);
}

TEST_F(LiveProtocol, AKeptFileIsNotOpenedAfterADirectoryOnItsPathWasMoved) {
  dir_.write("a/b/f", "one");
  watch();
  const std::uint64_t file = kernel_->node(kernel_->node(kernel_->node(FUSE_ROOT_ID, "a"), "b"), "f");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(open(file).error, 0);
    EXPECT_EQ(descriptors("a/b/f"), 1U);
  }
  std::filesystem::rename(dir_.path() / "a", dir_.path() / "old");
  EXPECT_EQ(open(file).error, ESTALE);
}

TEST_F(LiveProtocol, AStoreIntoAMappingOfAKeptFileIsNoticed) {
  dir_.write("f", std::string(4096, 'x'));
  watch();
  const std::uint64_t file = kernel_->node(FUSE_ROOT_ID, "f");
  EXPECT_EQ(open(file).error, 0);
  // inotify reports no such store.
  const UniqueFd host(::open((dir_.path() / "f").c_str(), O_RDWR | O_CLOEXEC));
  void* const memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, host.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // more than a tick of the file system's clock
  const auto before = std::filesystem::last_write_time(dir_.path() / "f");
  static_cast<volatile char*>(memory)[0] = 'y';
  const bool has_new_time = std::filesystem::last_write_time(dir_.path() / "f") != before;  // false on tmpfs
  EXPECT_EQ(open(file).error, has_new_time ? ESTALE : 0);
  ::munmap(memory, 4096);
}

TEST_F(LiveProtocol, WithoutAWatchNoFileIsKept) {
  const std::uint64_t file = kernel_->node(FUSE_ROOT_ID, "f");
  EXPECT_EQ(open(file).error, 0);
  EXPECT_EQ(descriptors("f"), 0U);
}

TEST_F(LiveProtocol, WhatJustChangedIsKeptForNoTime) {
  const auto entry = kernel_->lookup(FUSE_ROOT_ID, "f").as<fuse_entry_out>();
  EXPECT_EQ(entry.entry_valid, 0U);
  EXPECT_EQ(entry.entry_valid_nsec, 0U);
  EXPECT_EQ(entry.attr_valid, 0U);
  EXPECT_EQ(kernel_->lookup(FUSE_ROOT_ID, "none").as<fuse_entry_out>().entry_valid, 0U);
}

}  // namespace
}  // namespace pkgfs::fuse
