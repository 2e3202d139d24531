// SPDX-License-Identifier: MIT
// Risk: one file on a network file system that hangs stops the opens of all others.
#include "fuse/live_files.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <utility>

namespace pkgfs::fuse {
namespace {

class File : public vfs::OpenFile {
 public:
  explicit File(
      std::uint64_t number, std::function<void()> when_asked = [] {})
      : number_(number), when_asked_(std::move(when_asked)) {}
  [[nodiscard]] Result<std::size_t> read(std::uint64_t /*offset*/, std::span<std::byte> /*out*/) override {
    return fail(EIO);
  }
  [[nodiscard]] Result<vfs::Attributes> attributes() const override {
    when_asked_();
    vfs::Attributes attributes;
    attributes.number = number_;
    return attributes;
  }

 private:
  std::uint64_t number_;
  std::function<void()> when_asked_;
};

TEST(LiveFiles, FindsTheFileOfANumberUntilItIsClosed) {
  LiveFiles files;
  const auto one = std::make_shared<File>(11);
  const auto two = std::make_shared<File>(22);
  files.opened(5, one);
  files.opened(5, two);
  EXPECT_EQ(files.attributes(5, 22).value_or(vfs::Attributes{}).number, 22U);
  EXPECT_EQ(files.attributes(6, 22).error(), ENOENT);
  files.closed(5, *two);
  EXPECT_EQ(files.attributes(5, 22).error(), ENOENT);
  EXPECT_EQ(files.attributes(5, 11).value_or(vfs::Attributes{}).number, 11U);
}

TEST(LiveFiles, AHostThatHangsBlocksNoOtherFile) {
  LiveFiles files;
  const auto other = std::make_shared<File>(1);
  std::future<void> another;
  bool went_on = false;
  std::shared_ptr<File> hanging;
  hanging = std::make_shared<File>(2, [&] {
    another = std::async(std::launch::async, [&] {
      files.opened(9, other);
      files.closed(7, *hanging);
    });
    went_on = another.wait_for(std::chrono::seconds(5)) == std::future_status::ready;
  });
  files.opened(7, hanging);
  EXPECT_TRUE(files.attributes(7, 2));
  another.wait();
  EXPECT_TRUE(went_on);
}

TEST(LiveFiles, ARefusalCountsOnlyUntilTheKernelHadTimeToAskAgain) {
  constexpr pid_t kThread = 7;
  LiveFiles files;
  EXPECT_TRUE(files.may_refuse(kThread));
  EXPECT_FALSE(files.may_refuse(kThread)) << "the second request of the kernel";
  EXPECT_TRUE(files.may_refuse(kThread));
  files.answered(kThread);
  EXPECT_TRUE(files.may_refuse(kThread));
  std::this_thread::sleep_for(std::chrono::milliseconds(2'100));
  EXPECT_TRUE(files.may_refuse(kThread)) << "the second request never came";
}

}  // namespace
}  // namespace pkgfs::fuse
