// SPDX-License-Identifier: MIT
// Risk: a thread with real-time priority takes a processor from all other programs.
#include "fuse/wake_up_first.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <chrono>
#include <thread>

namespace pkgfs::fuse {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

TEST(ShareOfTime, IsUsedUpInOnePeriodAndThereAgainInTheNext) {
  ShareOfTime share(milliseconds(50), milliseconds(1000));
  EXPECT_TRUE(share.is_kept(milliseconds(500), milliseconds(10'000))) << "what was used before doesn't count";
  EXPECT_TRUE(share.is_kept(milliseconds(550), milliseconds(10'100)));
  EXPECT_FALSE(share.is_kept(milliseconds(551), milliseconds(10'101)));
  EXPECT_FALSE(share.is_kept(milliseconds(551), milliseconds(10'999))) << "a pause within the period doesn't help";
  EXPECT_TRUE(share.is_kept(milliseconds(552), milliseconds(11'000)));
  EXPECT_FALSE(share.is_kept(milliseconds(603), milliseconds(11'500)));
}

int policy() { return ::sched_getscheduler(0) & ~SCHED_RESET_ON_FORK; }

TEST(WakeUpFirst, AThreadThatWorksWithoutAPauseLosesItsPriorityForAWhile) {
  bool may = false;
  std::thread([&may] {
    WakeUpFirst first;
    may = policy() == SCHED_RR;
    EXPECT_FALSE(first.gave_up());
    if (!may) {
      return;
    }
    const auto end = Clock::now() + std::chrono::seconds(20);
    while (policy() == SCHED_RR && Clock::now() < end) {
      first.working();
    }
    EXPECT_EQ(policy(), SCHED_OTHER);
    EXPECT_TRUE(first.gave_up());
    std::this_thread::sleep_for(milliseconds(1100));
    first.working();
    EXPECT_EQ(policy(), SCHED_RR);
    EXPECT_FALSE(first.gave_up());
  }).join();
  if (!may) {
    GTEST_SKIP() << "this user has no right to real-time priority";
  }
}

}  // namespace
}  // namespace pkgfs::fuse
