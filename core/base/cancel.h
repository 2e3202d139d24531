// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

namespace pkgfs {

/// Asks work that waits for the network, a lock or a pause to stop: it does so within a fraction of a second by
/// throwing Error(kInterrupted). Setting it is safe in a signal handler.
class CancelFlag {
 public:
  /// Set as well whenever `outer` is, which must outlive this.
  explicit CancelFlag(const CancelFlag* outer = nullptr) : outer_(outer) {}
  CancelFlag(const CancelFlag&) = delete;
  CancelFlag& operator=(const CancelFlag&) = delete;

  void cancel() noexcept { set_.store(true, std::memory_order_relaxed); }
  /// The same because the disk is full: what was begun isn't worth its room.
  void cancel_for_room() noexcept {
    for_room_.store(true, std::memory_order_relaxed);
    cancel();
  }
  /// Whether it was for that, too.
  [[nodiscard]] bool is_for_room() const noexcept {
    return for_room_.load(std::memory_order_relaxed) || (outer_ != nullptr && outer_->is_for_room());
  }
  [[nodiscard]] bool is_cancelled() const noexcept {
    return set_.load(std::memory_order_relaxed) || (outer_ != nullptr && outer_->is_cancelled());
  }

  /// Waits for `time`, or until cancelled; true if it was.
  [[nodiscard]] bool wait_for(std::chrono::milliseconds time) const {
    constexpr auto kStep = std::chrono::milliseconds(20);  // a signal handler can't notify a condition
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
};

}  // namespace pkgfs
