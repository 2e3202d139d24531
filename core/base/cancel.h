// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#include "core/base/error.h"

namespace pkgfs {

/// Asks for the end of work that takes long: a calculation, or a wait for the network, a lock or the next attempt. The
/// worker polls the flag, and throws Error(kInterrupted) within a fraction of a second. Thread-safe; a signal handler
/// may call `cancel()`.
class CancelFlag {
 public:
  /// This flag also counts as cancelled if `outer` or `second` is. They must outlive this flag; null: there is none.
  explicit CancelFlag(const CancelFlag* outer = nullptr, const CancelFlag* second = nullptr)
      : outer_(outer), second_(second) {}
  CancelFlag(const CancelFlag&) = delete;
  CancelFlag& operator=(const CancelFlag&) = delete;

  void cancel() noexcept { set_.store(true, std::memory_order_relaxed); }
  /// Cancels because the disk is full, so that a worker also deletes its unfinished files.
  void cancel_for_room() noexcept {
    for_room_.store(true, std::memory_order_relaxed);
    cancel();
  }
  /// Whether `cancel_for_room()` was called for this flag or for one of its outer flags.
  [[nodiscard]] bool is_for_room() const noexcept {
    return for_room_.load(std::memory_order_relaxed) || (outer_ != nullptr && outer_->is_for_room()) ||
           (second_ != nullptr && second_->is_for_room());
  }
  [[nodiscard]] bool is_cancelled() const noexcept {
    return set_.load(std::memory_order_relaxed) || (outer_ != nullptr && outer_->is_cancelled()) ||
           (second_ != nullptr && second_->is_cancelled());
  }

  /// Waits for `time`, or until the flag is cancelled. Returns whether it is cancelled.
  [[nodiscard]] bool wait_for(std::chrono::milliseconds time) const {
    constexpr auto kStep =
        std::chrono::milliseconds(20);  // polled, because a signal handler can't notify a condition variable
    const auto end = std::chrono::steady_clock::now() + time;
    while (!is_cancelled()) {
      const auto left = end - std::chrono::steady_clock::now();
      if (left <= std::chrono::steady_clock::duration::zero()) {
        return false;
      }
      std::this_thread::sleep_for(std::min<std::chrono::steady_clock::duration>(left, kStep));
    }
    return true;
  }

 private:
  static_assert(std::atomic<bool>::is_always_lock_free);
  std::atomic<bool> set_ = false;
  std::atomic<bool> for_room_ = false;
  const CancelFlag* outer_;
  const CancelFlag* second_;
};

/// As long as this object lives, `throw_if_cancelled()` looks at `flag` in this thread. Meant for long calculations,
/// such as parsing, whose functions have no parameter for a flag. InterruptGuard and `for_each_in_parallel` make such a
/// scope. `flag` must outlive the scope. Scopes of one thread end in reverse order.
class CancelScope {
 public:
  explicit CancelScope(const CancelFlag& flag) : before_(std::exchange(current_, &flag)) {}
  ~CancelScope() { current_ = before_; }
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

 private:
  friend void throw_if_cancelled();

  static inline thread_local const CancelFlag* current_ = nullptr;
  const CancelFlag* before_;
};

/// Throws Error(kInterrupted) if the flag of the innermost CancelScope of this thread is cancelled. Without a scope,
/// does nothing. Costs a few nanoseconds.
inline void throw_if_cancelled() {
  if (CancelScope::current_ != nullptr && CancelScope::current_->is_cancelled()) {
    throw Error(ErrorCode::kInterrupted, "interrupted");
  }
}

}  // namespace pkgfs
