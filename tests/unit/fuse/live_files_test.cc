// SPDX-License-Identifier: MIT
// Risk: a program gets an error that is meant for the kernel, or a file that isn't open any more.
#include "fuse/live_files.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <thread>

namespace pkgfs::fuse {
namespace {

class File : public vfs::OpenFile {
 public:
  [[nodiscard]] Result<std::size_t> read(std::uint64_t /*offset*/, std::span<std::byte> /*out*/) override {
    return fail(EIO);
  }
};

TEST(LiveFiles, FindsAnOpenFileOfANodeUntilItIsClosed) {
  LiveFiles files;
  const auto one = std::make_shared<File>();
  const auto two = std::make_shared<File>();
  files.opened(5, one);
  files.opened(5, two);
  EXPECT_NE(files.find(5), nullptr);
  EXPECT_EQ(files.find(6), nullptr);
  files.closed(5, *two);
  EXPECT_EQ(files.find(5), one);
  files.closed(5, *one);
  EXPECT_EQ(files.find(5), nullptr);
}

TEST(LiveFiles, ARefusalCountsOnlyUntilTheKernelHadTimeToAskAgain) {
  constexpr pid_t kThread = 7;
  LiveFiles files;
  EXPECT_TRUE(files.may_refuse(kThread));
  EXPECT_FALSE(files.may_refuse(kThread)) << "the second request of the kernel";
  EXPECT_FALSE(files.was_refused(kThread));
  EXPECT_TRUE(files.may_refuse(kThread));
  EXPECT_TRUE(files.was_refused(kThread));
  files.answered(kThread);
  EXPECT_FALSE(files.was_refused(kThread));
  files.refused(kThread);
  EXPECT_TRUE(files.was_refused(kThread));
  EXPECT_TRUE(files.may_refuse(kThread)) << "that was no open";
  std::this_thread::sleep_for(std::chrono::milliseconds(2'100));
  EXPECT_FALSE(files.was_refused(kThread));
  EXPECT_TRUE(files.may_refuse(kThread)) << "the second request never came";
  EXPECT_FALSE(files.may_refuse(0)) << "a thread that can't be told from others";
  EXPECT_TRUE(files.was_refused(0));
}

}  // namespace
}  // namespace pkgfs::fuse
