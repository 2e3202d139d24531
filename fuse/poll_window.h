// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>

namespace pkgfs::fuse {

/// How long it is worth to look again and again for the next request before going to sleep. Being woken costs more than
/// most answers, above all across CPUs; looking costs a CPU that somebody else may want.
///
/// As the kernel's own halt polling decides it: a request that came soon after going to sleep makes the window longer,
/// one that looking didn't bring makes it shorter, and while others want the CPU there is none. Not thread-safe.
class PollWindow {
 public:
  using Duration = std::chrono::nanoseconds;
  using Time = std::chrono::steady_clock::time_point;

  static constexpr Duration kFirst = std::chrono::microseconds(10);
  static constexpr Duration kMost = std::chrono::microseconds(200);
  /// Between two looks: more than this, and somebody else had the CPU.
  static constexpr Duration kDisturbance = std::chrono::microseconds(50);

  /// How long to look, at `now`; zero: not at all.
  [[nodiscard]] Duration length(Time now) const;
  /// A request was found by looking.
  void found();
  /// None was.
  void missed();
  /// It came after `asleep` of sleep.
  void slept(Duration asleep);
  /// Others want the CPU.
  void disturbed(Time now);

 private:
  Duration window_{0};
  Duration pause_ = kFirstPause;
  Time pause_until_;

  static constexpr Duration kFirstPause = std::chrono::milliseconds(2);
  static constexpr Duration kLongestPause = std::chrono::milliseconds(256);
};

}  // namespace pkgfs::fuse
