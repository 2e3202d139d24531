// SPDX-License-Identifier: MIT
// Risk: a server that sends next to nothing holds a command for ever, or a slow network is taken for such a server.
#include "core/net/pace.h"

#include <gtest/gtest.h>

namespace pkgfs::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Verdict = Pace::Verdict;

const Pace::Clock::time_point kStart{seconds(1000)};
const Pace::Limits kLimits{.silence = seconds(3), .window = seconds(10), .slowest = 256};

/// The time at which a transfer is ended that gets `bytes` every `step`, up to two minutes.
std::pair<Verdict, milliseconds> end_of(Pace& pace, std::uint64_t bytes, milliseconds step, std::size_t transfers = 1) {
  pace.sent(kStart);
  std::uint64_t all = 0;
  milliseconds next = step;
  for (milliseconds now{0}; now < seconds(120); now += milliseconds(100)) {
    if (now >= next) {
      all += bytes;
      next += step;
    }
    pace.received(all, kStart + now);
    if (const Verdict verdict = pace.judge(kStart + now, transfers); verdict != Verdict::kFine) {
      return {verdict, now};
    }
  }
  return {Verdict::kFine, seconds(120)};
}

TEST(Pace, SilenceEndsAfterItsTime) {
  Pace pace(kLimits);
  EXPECT_EQ(end_of(pace, 0, seconds(1)), std::pair(Verdict::kSilent, milliseconds(3000)));
  Pace late(kLimits);
  EXPECT_EQ(end_of(late, 1'000'000, seconds(4)), std::pair(Verdict::kSilent, milliseconds(3000)));
}

TEST(Pace, BeforeTheRequestOnlyTheDeadlineCounts) {
  Pace::Limits limits = kLimits;
  limits.deadline = kStart + seconds(60);
  Pace pace(limits);
  EXPECT_EQ(pace.judge(kStart + seconds(59), 1), Verdict::kFine);
  EXPECT_EQ(pace.judge(kStart + seconds(60), 1), Verdict::kLate);
}

TEST(Pace, TrickleEndsAfterAWindow) {
  Pace pace(kLimits);
  const auto [verdict, time] = end_of(pace, 40, seconds(1));
  EXPECT_EQ(verdict, Verdict::kSlow);
  EXPECT_LE(time, seconds(12)) << "the window begins with the first byte";
}

TEST(Pace, SlowNetworkIsFine) {
  Pace pace(kLimits);
  EXPECT_EQ(end_of(pace, 300, seconds(1)).first, Verdict::kFine);
  Pace uneven(kLimits);
  EXPECT_EQ(end_of(uneven, 900, milliseconds(2900)).first, Verdict::kFine);
}

TEST(Pace, TrickleAfterMuchDataEndsInTime) {
  Pace pace(kLimits);
  pace.sent(kStart);
  for (int i = 0; i <= 50; ++i) {  // five seconds at full speed
    pace.received(1'000'000ULL * static_cast<std::uint64_t>(i + 1), kStart + milliseconds(100 * i));
  }
  int tenths = 51;
  for (; tenths < 1000; ++tenths) {
    const auto now = kStart + milliseconds(100 * tenths);
    pace.received(51'000'000ULL + static_cast<std::uint64_t>(tenths), now);
    if (pace.judge(now, 1) != Verdict::kFine) {
      break;
    }
  }
  EXPECT_GE(tenths, 148);
  EXPECT_LE(tenths, 170) << "a window and its tenth after the last full speed";
}

TEST(Pace, TimeThatThisProcessTookIsNotTheServers) {
  Pace pace(kLimits);
  pace.sent(kStart);
  pace.received(1000, kStart + seconds(1));
  pace.paused(kStart + seconds(2), kStart + seconds(60));
  EXPECT_EQ(pace.judge(kStart + seconds(60), 1), Verdict::kFine) << "one second of silence";
  EXPECT_EQ(pace.judge(kStart + milliseconds(61'900), 1), Verdict::kFine);
  EXPECT_EQ(pace.judge(kStart + seconds(62), 1), Verdict::kSilent);
  pace.sent(kStart + seconds(61));  // within the pause
  pace.paused(kStart + seconds(60), kStart + seconds(70));
  EXPECT_EQ(pace.judge(kStart + seconds(72), 1), Verdict::kFine);
  EXPECT_EQ(pace.judge(kStart + seconds(73), 1), Verdict::kSilent);
}

TEST(Pace, APauseMakesNoServerSlow) {
  Pace pace(kLimits);
  pace.sent(kStart);
  auto now = kStart;
  for (std::uint64_t bytes = 500; bytes < 20'000; bytes += 500) {  // a second each, with a pause of nine before
    pace.paused(now, now + seconds(9));
    now += seconds(10);
    pace.received(bytes, now);
    EXPECT_EQ(pace.judge(now, 1), Verdict::kFine) << bytes;
  }
}

TEST(Pace, TransfersShareTheLowestRate) {
  Pace pace(kLimits);
  EXPECT_EQ(end_of(pace, 40, seconds(1), 8).first, Verdict::kFine);
}

}  // namespace
}  // namespace pkgfs::test
