// SPDX-License-Identifier: MIT
// Risk: an idle mount uses a CPU, or readers on a busy machine wait for a CPU on which a server thread polls.
#include "fuse/poll_window.h"

#include <gtest/gtest.h>

namespace pkgfs::fuse {
namespace {

using namespace std::chrono_literals;

class PollWindowTest : public testing::Test {
 protected:
  [[nodiscard]] PollWindow::Duration length() const { return window_.length(now_); }

  PollWindow window_;
  PollWindow::Time now_ = PollWindow::Time{} + 1h;
};

TEST_F(PollWindowTest, BeginsWithoutLooking) { EXPECT_EQ(length(), 0ns); }

TEST_F(PollWindowTest, RequestsThatFollowSoonMakeItLongerUpToABound) {
  window_.slept(20us);
  EXPECT_EQ(length(), PollWindow::kFirst);
  for (int i = 0; i < 20; ++i) {
    window_.slept(20us);
  }
  EXPECT_EQ(length(), PollWindow::kMost);
}

TEST_F(PollWindowTest, RareRequestsDont) {
  window_.slept(5ms);
  EXPECT_EQ(length(), 0ns);
}

TEST_F(PollWindowTest, LookingInVainEndsIt) {
  for (int i = 0; i < 20; ++i) {
    window_.slept(20us);
  }
  int looks = 0;
  for (; length() > 0ns; ++looks) {
    window_.missed();
  }
  EXPECT_LE(looks, 5);
}

TEST_F(PollWindowTest, WhereOthersWantTheCpuThereIsNoneForAWhileEachTimeLonger) {
  window_.slept(20us);
  window_.disturbed(now_);
  EXPECT_EQ(length(), 0ns);
  now_ += 2ms;
  EXPECT_GT(length(), 0ns);
  window_.disturbed(now_);
  now_ += 2ms;
  EXPECT_EQ(length(), 0ns);
  now_ += 2ms;
  EXPECT_GT(length(), 0ns);
  for (int i = 0; i < 20; ++i) {
    window_.disturbed(now_);
  }
  now_ += 200ms;
  EXPECT_EQ(length(), 0ns) << "as long as it goes on";
  now_ += 100ms;
  window_.found();
  window_.disturbed(now_);
  now_ += 2ms;
  EXPECT_GT(length(), 0ns) << "looking has paid again since";
}

}  // namespace
}  // namespace pkgfs::fuse
