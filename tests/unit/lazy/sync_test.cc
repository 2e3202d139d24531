// SPDX-License-Identifier: MIT
// Risk: after a power cut, a block counts as synced whose bytes never reached the disk.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <vector>

#include "core/base/error.h"
#include "tests/unit/lazy/lazy_directory.h"

namespace pkgfs::test {
namespace {

using ::testing::ElementsAre;

/// What fdatasync(2) does instead, in this program; empty: only what it always does.
std::function<int(int fd)> hook;

}  // namespace
}  // namespace pkgfs::test

extern "C" int fdatasync(int fd) {
  const auto call = pkgfs::test::hook;  // a copy: it may replace itself
  return call ? call(fd) : static_cast<int>(::syscall(SYS_fdatasync, fd));
}

namespace pkgfs::test {
namespace {

class SyncTest : public LazyDirectory {
 protected:
  ~SyncTest() override { hook = nullptr; }
  /// The blocks that survive a reboot.
  [[nodiscard]] std::vector<std::uint64_t> synced() {
    file_.reset();
    const auto file = open("boot " + std::to_string(++boots_));
    std::vector<std::uint64_t> blocks;
    for (std::uint64_t block = 0; block < kBlocks; ++block) {
      if (file->has({block, 1})) {
        blocks.push_back(block);
      }
    }
    return blocks;
  }

  std::shared_ptr<SparseFile> file_ = open("boot 0");

 private:
  int boots_ = 0;
};

TEST_F(SyncTest, TheBytesComeBeforeTheMap) {
  std::vector<int> order;
  fetch(*file_, {1, 2});
  hook = [&](int fd) {
    order.push_back(fd);
    return 0;
  };
  file_->sync();
  ASSERT_EQ(order.size(), 2U);
  EXPECT_EQ(order[0], file_->fd());
  EXPECT_NE(order[1], file_->fd());
  file_->sync();
  EXPECT_EQ(order.size(), 2U) << "there is nothing to sync";
  EXPECT_THAT(synced(), ElementsAre(1, 2));
}

TEST_F(SyncTest, WhatIsWrittenMeanwhileIsNotSynced) {
  fetch(*file_, {1, 1});
  hook = [&](int) {
    hook = nullptr;
    fetch(*file_, {2, 1});
    return 0;
  };
  file_->sync();
  EXPECT_THAT(synced(), ElementsAre(1));
}

TEST_F(SyncTest, ABlockThatIsFetchedAgainMeanwhileIsNotSynced) {
  fetch(*file_, {1, 2});
  auto other = open("boot 0");  // as another process has it
  int calls = 0;
  hook = [&](int fd) {
    if (fd == file_->fd()) {
      ++calls;
      other->mark_missing({2, 1});
      fetch(*other, {2, 1});
    }
    return 0;
  };
  file_->sync();
  EXPECT_GT(calls, 1) << "the other blocks are worth another attempt";
  fetch(*file_, {3, 1});
  hook = [&](int fd) {
    if (fd == file_->fd()) {
      hook = nullptr;
      other->mark_missing({3, 1});  // and not again: the second attempt syncs the others
    }
    return 0;
  };
  file_->sync();
  other.reset();
  EXPECT_THAT(synced(), ElementsAre(1, 2));
}

TEST_F(SyncTest, NothingIsSyncedIfEachAttemptIsDisturbed) {
  fetch(*file_, {1, 1});
  hook = [&](int fd) {
    if (fd == file_->fd()) {
      file_->mark_missing({1, 1});
      fetch(*file_, {1, 1});
    }
    return 0;
  };
  file_->sync();
  hook = nullptr;
  EXPECT_THAT(synced(), ElementsAre());
}

TEST_F(SyncTest, AForgottenBlockIsSoOnTheDiskBeforeItIsWrittenAgain) {
  fetch(*file_, {1, 1});
  file_->sync();
  int map_syncs = 0;
  hook = [&](int fd) {
    map_syncs += fd == file_->fd() ? 0 : 1;
    return 0;
  };
  file_->mark_missing({1, 1});
  EXPECT_EQ(map_syncs, 1);
}

TEST_F(SyncTest, AFailureForgetsWhatMayBeLost) {
  fetch(*file_, {1, 2});
  file_->sync();
  fetch(*file_, {5, 1});
  hook = [&](int) {
    hook = nullptr;
    fetch(*file_, {6, 1});
    errno = EIO;
    return -1;
  };
  EXPECT_THROW(file_->sync(), Error);
  EXPECT_TRUE(file_->has({1, 2}));
  EXPECT_FALSE(file_->has({5, 1})) << "the kernel reports a failure once, and drops the bytes";
  EXPECT_THAT(synced(), ElementsAre(1, 2));
}

}  // namespace
}  // namespace pkgfs::test
