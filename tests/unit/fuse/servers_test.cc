// SPDX-License-Identifier: MIT
// Risk: a request that waits for a disk, or hangs, keeps all others waiting; or a mount that is idle takes a CPU.
#include "fuse/servers.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/fuse/servers_fixture.h"

namespace pkgfs::fuse {
namespace {

TEST_F(ServersTest, AThreadHandsOverBeforeItWaitsForADisk) {
  if (!start({.threads = 4, .on_duty = 1})) {
    GTEST_SKIP() << "no session without a device";
  }
  disk_->gate.close();
  const std::uint64_t reading = send_read(slow_);
  ASSERT_TRUE(disk_->gate.holds(1));
  EXPECT_GE(disk_->relieved_before, 1U) << "not only after the watch has noticed";
  const std::uint64_t other = send_lookup("file");
  EXPECT_EQ(next_answered(), other);
  disk_->gate.open();
  EXPECT_EQ(next_answered(), reading);
}

TEST_F(ServersTest, TheWatchRelievesAThreadThatIsStuck) {
  if (!start({.threads = 4, .on_duty = 1})) {
    GTEST_SKIP() << "no session without a device";
  }
  std::this_thread::sleep_for(50ms);  // the watch sleeps
  tree_.gate.close();
  const std::uint64_t stuck = send_getattr(file_);
  ASSERT_TRUE(tree_.gate.holds(1));
  const std::uint64_t other = send_lookup("file");
  EXPECT_EQ(next_answered(), other);
  EXPECT_EQ(relieved(), 1U);
  tree_.gate.open();
  EXPECT_EQ(next_answered(), stuck);
}

TEST_F(ServersTest, AsManyRequestsWaitAsThereMayBeThreads) {
  if (!start({.threads = 2, .most_threads = 2, .on_duty = 1})) {
    GTEST_SKIP() << "no session without a device";
  }
  disk_->gate.close();
  std::set<std::uint64_t> requests{send_read(slow_), send_read(slow_)};
  ASSERT_TRUE(disk_->gate.holds(2));
  for (int i = 0; i < 3; ++i) {
    requests.insert(send_lookup("file"));
  }
  EXPECT_EQ(next_answered(200ms), 0U) << "no thread is left";
  disk_->gate.open();
  std::set<std::uint64_t> answered;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    answered.insert(next_answered());
  }
  EXPECT_EQ(answered, requests) << "none is lost";
  const std::uint64_t after = send_lookup("file");
  EXPECT_EQ(next_answered(), after);
}

TEST_F(ServersTest, ThreadsThatAreStuckAreReplacedUntilTheyComeBack) {
  constexpr unsigned kStuck = 12;
  const std::size_t before = threads_of_this_process();
  if (!start({.threads = 2, .on_duty = 1})) {
    GTEST_SKIP() << "no session without a device";
  }
  disk_->gate.close();
  std::set<std::uint64_t> requests;
  for (unsigned i = 0; i < kStuck; ++i) {
    requests.insert(send_read(slow_));
  }
  ASSERT_TRUE(disk_->gate.holds(kStuck));
  const std::uint64_t other = send_lookup("file");
  EXPECT_EQ(next_answered(), other);
  EXPECT_LE(threads_of_this_process(), before + 1 + kStuck + 2);
  disk_->gate.open();
  std::set<std::uint64_t> answered;
  for (unsigned i = 0; i < kStuck; ++i) {
    answered.insert(next_answered());
  }
  EXPECT_EQ(answered, requests);
  for (int i = 0; i < 100 && threads_of_this_process() > before + 1 + 2; ++i) {
    std::this_thread::sleep_for(20ms);
  }
  EXPECT_LE(threads_of_this_process(), before + 1 + 2) << "two, and the watch";
  const std::uint64_t after = send_lookup("file");
  EXPECT_EQ(next_answered(), after);
  EXPECT_TRUE(kernel_->servers().stop(10s));
}

TEST_F(ServersTest, ThreadsAreStartedWhenTheyAreNeeded) {
  const std::size_t before = threads_of_this_process();
  if (!start({.threads = 8, .on_duty = 2})) {
    GTEST_SKIP() << "no session without a device";
  }
  EXPECT_EQ(threads_of_this_process(), before + 2) << "one, and the watch";
  disk_->gate.close();
  (void)send_read(slow_);
  ASSERT_TRUE(disk_->gate.holds(1));
  const std::uint64_t other = send_lookup("file");
  EXPECT_EQ(next_answered(), other);
  EXPECT_EQ(threads_of_this_process(), before + 3);
}

TEST_F(ServersTest, SeveralThreadsTakeRequestsWhenManyAreQueued) {
  if (!start({.threads = 4, .on_duty = 2})) {
    GTEST_SKIP() << "no session without a device";
  }
  tree_.delay = 200us;
  constexpr int kMany = 150;
  for (int i = 0; i < kMany; ++i) {
    (void)send_getattr(file_);
  }
  for (int i = 0; i < kMany; ++i) {
    ASSERT_NE(next_answered(), 0U);
  }
  EXPECT_GE(tree_.threads(), 2U);
}

TEST_F(ServersTest, WithoutRequestsNoThreadWakesUp) {
  if (!start({.threads = 4, .on_duty = 1})) {
    GTEST_SKIP() << "no session without a device";
  }
  for (int i = 0; i < 50; ++i) {
    (void)kernel_->lookup(FUSE_ROOT_ID, "file");
  }
  std::this_thread::sleep_for(100ms);
  rusage before{};
  rusage after{};
  ::getrusage(RUSAGE_SELF, &before);
  std::this_thread::sleep_for(300ms);
  ::getrusage(RUSAGE_SELF, &after);
  EXPECT_LE(after.ru_nvcsw - before.ru_nvcsw, 5);
  (void)kernel_->lookup(FUSE_ROOT_ID, "file");
}

TEST_F(ServersTest, StopEndsAllThreads) {
  const std::size_t before = threads_of_this_process();
  if (!start({.threads = 4, .on_duty = 1})) {
    GTEST_SKIP() << "no session without a device";
  }
  disk_->gate.close();
  (void)send_read(slow_);  // starts a second thread
  ASSERT_TRUE(disk_->gate.holds(1));
  (void)send_lookup("file");
  ASSERT_NE(next_answered(), 0U);
  disk_->gate.open();
  ASSERT_NE(next_answered(), 0U);
  EXPECT_TRUE(kernel_->servers().stop(10s));
  EXPECT_EQ(threads_of_this_process(), before);
}

TEST_F(ServersTest, StopDoesNotWaitForEverForAThreadThatIsStuck) {
  if (!start({.threads = 4, .on_duty = 1})) {
    GTEST_SKIP() << "no session without a device";
  }
  disk_->gate.close();
  const std::uint64_t reading = send_read(slow_);
  ASSERT_TRUE(disk_->gate.holds(1));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(kernel_->servers().stop(50ms));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
  disk_->gate.open();
  EXPECT_EQ(next_answered(), reading) << "what was begun is answered";
  EXPECT_TRUE(kernel_->servers().stop(10s));
}

TEST_F(ServersTest, TheEndOfTheConnectionEndsThem) {
  if (!start({.threads = 4, .on_duty = 1})) {
    GTEST_SKIP() << "no session without a device";
  }
  pollfd ended{.fd = kernel_->servers().ended_fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&ended, 1, 0), 0);
  kernel_->hang_up();
  EXPECT_EQ(::poll(&ended, 1, 10'000), 1);
}

}  // namespace
}  // namespace pkgfs::fuse
