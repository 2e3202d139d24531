// SPDX-License-Identifier: MIT
// Risk: a tree stays open for long after its last use, or the kernel is asked for it all the time.
#include "daemon/serve/close_attempts.h"

#include <gtest/gtest.h>

namespace pkgfs {
namespace {

using namespace std::chrono_literals;
using Clock = CloseAttempts::Clock;

class CloseAttemptsTest : public ::testing::Test {
 protected:
  [[nodiscard]] bool begins(std::chrono::seconds at, bool early, std::chrono::seconds used = 0s) {
    return attempts_.begin({.slot = 3, .root = 7, .path = "acme/app@1", .used = begin_ + used, .early = early},
                           begin_ + at);
  }

  Clock::time_point begin_ = Clock::now();
  CloseAttempts attempts_{15min};
};

TEST_F(CloseAttemptsTest, WaitForTheIdleTime) {
  EXPECT_TRUE(begins(0s, false));
  EXPECT_FALSE(begins(14min, false));
  EXPECT_TRUE(begins(15min, false));
}

TEST_F(CloseAttemptsTest, ComeSoonIfTooManyTreesAreOpen) {
  EXPECT_TRUE(begins(0s, false));
  EXPECT_TRUE(begins(1s, true)) << "the attempt without need doesn't count";
  EXPECT_FALSE(begins(1s, true));
  EXPECT_TRUE(begins(2s, true));
  EXPECT_FALSE(begins(3s, true)) << "the pause has doubled";
  EXPECT_TRUE(begins(4s, true));
  int count = 0;
  for (auto at = 4s; at < 4s + 1h; ++at) {
    count += begins(at, true, at) ? 1 : 0;  // a tree in constant use
  }
  EXPECT_GE(count, 59);
  EXPECT_LE(count, 66);
}

TEST_F(CloseAttemptsTest, BeginAnewAfterATreeWasUsedOrAnotherOneWasOpened) {
  CloseAttempts short_idle(1s);
  const auto begins_at = [&](std::chrono::seconds at, std::chrono::seconds used, vfs::Inode root) {
    return short_idle.begin({.slot = 3, .root = root, .path = "acme/app@1", .used = begin_ + used, .early = false},
                            begin_ + at);
  };
  for (auto at = 0s; at < 1h; ++at) {
    (void)begins_at(at, 0s, 7);
  }
  EXPECT_FALSE(begins_at(1h, 0s, 7));
  EXPECT_TRUE(begins_at(1h, 3598s, 7));
  EXPECT_FALSE(begins_at(1h, 3598s, 7));
  EXPECT_TRUE(begins_at(1h, 3598s, 8));
}

}  // namespace
}  // namespace pkgfs
