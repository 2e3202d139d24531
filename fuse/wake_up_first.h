// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>

namespace pkgfs::fuse {

/// Counts how much processor time a thread uses in each period. Not thread-safe.
class ShareOfTime {
 public:
  ShareOfTime(std::chrono::nanoseconds most, std::chrono::nanoseconds period) : most_(most), period_(period) {}
  /// Whether the thread has used at most `most` in the current period. `used` is its processor time since it began, and
  /// `now` any clock that goes on while it sleeps.
  [[nodiscard]] bool is_kept(std::chrono::nanoseconds used, std::chrono::nanoseconds now);

 private:
  std::chrono::nanoseconds most_;
  std::chrono::nanoseconds period_;
  std::chrono::nanoseconds begin_{0};  // of the period
  std::chrono::nanoseconds used_before_{0};
};

/// Lets the thread that makes this object run at once when it wakes up. For that, the thread gets the lowest real-time
/// priority, which needs CAP_SYS_NICE. Without that right, the thread gets a short time slice, which needs Linux 6.12.
///
/// The real-time priority is for a thread that does little at a time. But programs can make the thread work without a
/// pause, by changing files all the time. So it loses the priority once it has used 50 ms of processor time within a
/// second. At the first call of `working` after that second, it gets the priority back. Only that thread may use this
/// object. No child process inherits the priority.
class WakeUpFirst {
 public:
  WakeUpFirst();
  /// Gives the priority up, or takes it back. The thread calls this at least every few milliseconds while it works. If
  /// `gave_up` is true, it also calls this after a second without work. Otherwise it would still have normal priority
  /// when it next wakes up for work.
  void working();
  /// Whether the thread has the right to the priority, and doesn't have it now.
  [[nodiscard]] bool gave_up() const { return may_ && !has_; }

 private:
  ShareOfTime share_;
  bool may_ = false;  // the thread may have real-time priority
  bool has_ = false;
};

}  // namespace pkgfs::fuse
