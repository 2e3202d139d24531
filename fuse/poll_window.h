// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>

namespace pkgfs::fuse {

/// Decides how long a thread polls for the next request before it sleeps. Waking a thread costs more than answering
/// most requests, above all on another CPU; polling uses a CPU that other threads may need.
///
/// The rules are those of the kernel's halt polling. If a request came soon after the thread had gone to sleep, the
/// time gets longer. If polling ended without a request, the time gets shorter. If other threads need the CPU, the
/// thread doesn't poll for a while. Not thread-safe.
class PollWindow {
 public:
  using Duration = std::chrono::nanoseconds;
  using Time = std::chrono::steady_clock::time_point;

  static constexpr Duration kFirst = std::chrono::microseconds(10);
  static constexpr Duration kMost = std::chrono::microseconds(200);
  /// If more time than this passes between two polls, another thread had the CPU.
  static constexpr Duration kDisturbance = std::chrono::microseconds(50);

  /// How long to poll, at `now`; zero: not at all.
  [[nodiscard]] Duration length(Time now) const;
  /// Polling found a request.
  void found();
  /// Polling ended without a request.
  void missed();
  /// A request came after `asleep` of sleep.
  void slept(Duration asleep);
  /// Another thread had the CPU.
  void disturbed(Time now);

 private:
  Duration window_{0};
  Duration pause_ = kFirstPause;
  Time pause_until_;

  static constexpr Duration kFirstPause = std::chrono::milliseconds(2);
  static constexpr Duration kLongestPause = std::chrono::milliseconds(256);
};

}  // namespace pkgfs::fuse
