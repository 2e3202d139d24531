// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace pkgfs::fuse {

/// Passes hints, 64-bit numbers, from many threads to one. Posting never waits and never allocates. If too many are
/// waiting, the oldest are lost.
class HintRing {
 public:
  /// From any thread. 0 is no hint; it only wakes the reading thread.
  void post(std::uint64_t hint) {
    const std::uint32_t at = claimed_.fetch_add(1, std::memory_order_relaxed);
    hints_.at(at % kSize).store(hint, std::memory_order_relaxed);
    head_.fetch_add(1);
    head_.notify_one();
  }

  // For the reading thread only.

  [[nodiscard]] bool is_empty() const { return head_ == tail_; }
  /// Sleeps until something is posted.
  void wait() const { head_.wait(tail_); }
  /// Calls `visit` for all waiting hints, the oldest first. False: there were none.
  template <typename Visitor>
  bool take(const Visitor& visit) {
    const std::uint32_t head = head_.load(std::memory_order_acquire);
    if (tail_ == head) {
      return false;
    }
    tail_ = head - tail_ > kSize ? head - kSize : tail_;
    for (; tail_ != head; ++tail_) {
      if (const std::uint64_t hint = hints_.at(tail_ % kSize).exchange(0, std::memory_order_relaxed); hint != 0) {
        visit(hint);
      }
    }
    return true;
  }

 private:
  static constexpr std::uint32_t kSize = 128;

  std::array<std::atomic<std::uint64_t>, kSize> hints_{};
  std::atomic<std::uint32_t> claimed_{0};
  std::atomic<std::uint32_t> head_{0};
  std::uint32_t tail_ = 0;
};

}  // namespace pkgfs::fuse
