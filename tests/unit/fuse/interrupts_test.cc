// SPDX-License-Identifier: MIT
// Risk: a program that waits for a disk can't be ended; or two replies, or none, answer a request that is interrupted.
#include "fuse/interrupts.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <random>
#include <thread>

#include "tests/unit/fuse/servers_fixture.h"

namespace pkgfs::fuse {
namespace {

class InterruptsTest : public ServersTest {
 protected:
  /// The errno of the next reply, which must be the one to `request`; -1 if it isn't.
  int error_of(std::uint64_t request, std::chrono::milliseconds patience = 10s) {
    const auto reply = kernel_->receive_any(patience);
    return reply && reply->first == request ? reply->second.error : -1;
  }
};

TEST_F(InterruptsTest, ARequestThatWaitsEndsWhileItsThreadIsStuck) {
  if (!start({.threads = 4, .on_duty = 1})) {
    GTEST_SKIP() << "no session without a device";
  }
  disk_->gate.close();
  const std::uint64_t reading = send_read(slow_);
  ASSERT_TRUE(disk_->gate.holds(1));
  std::this_thread::sleep_for(700ms);  // the watch sleeps again
  const auto begin = std::chrono::steady_clock::now();
  (void)send_interrupt(reading);
  EXPECT_EQ(error_of(reading), EINTR);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 400ms);
  disk_->gate.open();
  EXPECT_EQ(next_answered(100ms), 0U) << "a second reply counts";
  EXPECT_EQ(kernel_->late_replies(), 1U) << "the thread isn't done";
  const std::uint64_t after = send_read(slow_);
  EXPECT_EQ(error_of(after), 0);
}

TEST_F(InterruptsTest, AnyKindOfRequestCanBeInterrupted) {
  if (!start({.threads = 4, .on_duty = 1})) {
    GTEST_SKIP() << "no session without a device";
  }
  tree_.gate.close();
  const std::uint64_t stuck = send_getattr(file_);
  ASSERT_TRUE(tree_.gate.holds(1));
  (void)send_interrupt(stuck);
  EXPECT_EQ(error_of(stuck), EINTR);
}

TEST_F(InterruptsTest, AlsoWhenNoThreadIsLeft) {
  if (!start({.threads = 1, .most_threads = 1, .on_duty = 1})) {
    GTEST_SKIP() << "no session without a device";
  }
  disk_->gate.close();
  const std::uint64_t reading = send_read(slow_);
  ASSERT_TRUE(disk_->gate.holds(1));
  const std::uint64_t held = send_read(slow_);
  const std::uint64_t waiting = send_lookup("file");
  EXPECT_EQ(next_answered(200ms), 0U);
  (void)send_interrupt(held);
  EXPECT_EQ(error_of(held), EINTR);
  (void)send_interrupt(reading);
  EXPECT_EQ(error_of(reading), EINTR);
  disk_->gate.open();
  EXPECT_EQ(error_of(waiting), 0);
  EXPECT_EQ(disk_->reads, 1U) << "what was interrupted before it began isn't begun";
}

TEST_F(InterruptsTest, ADiskThatAnswersSoonCausesNone) {
  if (!start({.threads = 4, .on_duty = 1})) {
    GTEST_SKIP() << "no session without a device";
  }
  for (int i = 0; i < 20; ++i) {
    disk_->gate.close();
    const auto begin = std::chrono::steady_clock::now();
    const std::uint64_t reading = send_read(slow_);
    ASSERT_TRUE(disk_->gate.holds(1));
    (void)send_interrupt(reading);
    std::this_thread::sleep_for(10ms);
    disk_->gate.open();
    const int error = error_of(reading);
    if (std::chrono::steady_clock::now() - begin < 400ms) {
      EXPECT_EQ(error, 0);
    }
  }
}

TEST_F(InterruptsTest, TheKernelSendsAnInterruptAgainThatCameTooEarly) {
  if (!start({.threads = 4, .on_duty = 1})) {
    GTEST_SKIP() << "no session without a device";
  }
  const std::uint64_t next = send_lookup("file") + 2;
  ASSERT_NE(next_answered(), 0U);
  const std::uint64_t early = send_interrupt(next);
  std::this_thread::sleep_for(300ms);
  EXPECT_EQ(send_lookup("file"), next);
  EXPECT_EQ(error_of(early), EAGAIN);
  EXPECT_EQ(error_of(next), 0);
}

TEST_F(InterruptsTest, OneReplyCountsIfTheAnswerComesAtTheSameTime) {
  constexpr int kRounds = 6;
  constexpr int kAtOnce = 32;
  if (!start({.threads = kAtOnce, .on_duty = 1})) {
    GTEST_SKIP() << "no session without a device";
  }
  std::mt19937 random(1);
  for (int round = 0; round < kRounds; ++round) {
    disk_->gate.close();
    std::map<std::uint64_t, int> replies;
    for (int i = 0; i < kAtOnce; ++i) {
      replies[send_read(slow_)] = 0;
    }
    ASSERT_TRUE(disk_->gate.holds(kAtOnce));
    std::this_thread::sleep_for(550ms);
    std::thread disk([this, pause = std::chrono::microseconds(random() % 3000)] {
      std::this_thread::sleep_for(pause);
      disk_->gate.open();
    });
    for (const auto& [request, count] : replies) {
      (void)send_interrupt(request);
    }
    for (int i = 0; i < kAtOnce; ++i) {
      const auto reply = kernel_->receive_any(10s);
      if (!reply) {
        ADD_FAILURE() << "a request isn't answered";
        break;
      }
      ++replies[reply->first];
      EXPECT_TRUE(reply->second.error == EINTR || reply->second.body == std::string(100, '\0'));
    }
    disk.join();
    ASSERT_FALSE(HasFailure());
    for (const auto& [request, count] : replies) {
      EXPECT_EQ(count, 1) << request;
    }
  }
  EXPECT_EQ(next_answered(200ms), 0U);
  EXPECT_EQ(kernel_->node(FUSE_ROOT_ID, "file"), file_);
}

}  // namespace
}  // namespace pkgfs::fuse
