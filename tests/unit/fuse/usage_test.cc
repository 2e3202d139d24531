// SPDX-License-Identifier: MIT
// Risk: `df` keeps a thread of the mount for as long as it takes to walk a tree.
#include "fuse/usage.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <string>
#include <thread>

#include "core/vfs/static_file_system.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::fuse {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kDirectories = 20;
constexpr std::size_t kFiles = 100;

vfs::StaticFileSystem large_tree() {
  std::vector<vfs::StaticFile> files;
  for (std::size_t i = 0; i < kDirectories; ++i) {
    for (std::size_t j = 0; j < kFiles; ++j) {
      files.push_back({.path = "/d" + std::to_string(i) + "/f" + std::to_string(j), .content = test::blob_of("abc")});
    }
  }
  return vfs::StaticFileSystem(std::move(files));
}

/// A tree that may be live, and whose listings may take long.
class Slow final : public vfs::FileSystem {
 public:
  explicit Slow(bool live) : live_(live), tree_(large_tree()) {}

  vfs::Inode root() const override { return tree_.root(); }
  Result<vfs::Entry> lookup(vfs::Inode dir, std::string_view name) override { return tree_.lookup(dir, name); }
  Result<vfs::Attributes> metadata(vfs::Inode inode) override {
    Result<vfs::Attributes> attributes = tree_.metadata(inode);
    attributes->live = live_;
    return attributes;
  }
  Result<void> read_dir(vfs::Inode dir, std::uint64_t from, FunctionRef<bool(const vfs::DirEntry&)> visit) override {
    ++lists;
    entered.set_value_if_first();
    go_on.wait();
    return tree_.read_dir(dir, from, visit);
  }
  Result<std::string_view> read_link(vfs::Inode inode) override { return tree_.read_link(inode); }
  Result<std::unique_ptr<vfs::OpenFile>> open(vfs::Inode inode) override { return tree_.open(inode); }

  struct First {
    std::promise<void> promise;
    bool done = false;
    void set_value_if_first() {
      if (!std::exchange(done, true)) {
        promise.set_value();
      }
    }
  };
  std::atomic<int> lists = 0;
  First entered;
  std::promise<void> release;
  std::shared_future<void> go_on = release.get_future().share();

 private:
  bool live_;
  vfs::StaticFileSystem tree_;
};

TEST(UsageCounter, CountsAllWhenThereIsTime) {
  vfs::StaticFileSystem tree = large_tree();
  UsageCounter counter(tree, 1min);
  const Usage usage = counter.get();
  EXPECT_EQ(usage.inodes, 1 + kDirectories + kDirectories * kFiles);
  EXPECT_EQ(usage.bytes, 3 * kDirectories * kFiles);
}

TEST(UsageCounter, GoesOnWhereTheLastQuestionStopped) {
  vfs::StaticFileSystem tree = large_tree();
  UsageCounter counter(tree, 0ns);
  std::uint64_t before = 0;
  int questions = 0;
  for (Usage usage = counter.get(); usage.inodes != before || questions < 100; usage = counter.get()) {
    ASSERT_GE(usage.inodes, before);
    before = usage.inodes;
    ++questions;
  }
  EXPECT_GT(questions, 10) << "a little at a time";
  EXPECT_EQ(before, 1 + kDirectories + kDirectories * kFiles);
  EXPECT_EQ(counter.get().bytes, 3 * kDirectories * kFiles);
}

TEST(UsageCounter, NobodyWaitsForWhoCounts) {
  Slow tree(false);
  UsageCounter counter(tree, 1min);
  std::thread counting([&] { (void)counter.get(); });
  tree.entered.promise.get_future().wait();
  auto asked = std::async(std::launch::async, [&] { return counter.get(); });
  EXPECT_EQ(asked.wait_for(5s), std::future_status::ready);
  tree.release.set_value();
  counting.join();
  EXPECT_LE(asked.get().inodes, 1U);
  EXPECT_EQ(counter.get().inodes, 1 + kDirectories + kDirectories * kFiles);
}

TEST(UsageCounter, LiveTreesAreNotCounted) {
  Slow tree(true);
  tree.release.set_value();
  UsageCounter counter(tree, 1min);
  EXPECT_EQ(counter.get().inodes, 0U);
  EXPECT_EQ(counter.get().bytes, 0U);
  EXPECT_EQ(tree.lists, 0);
}

}  // namespace
}  // namespace pkgfs::fuse
