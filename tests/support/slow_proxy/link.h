// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

#include "tests/support/slow_proxy/timers.h"

namespace pkgfs::slow_proxy {

/// One direction of the network, which all connections share. Bytes leave one after the other at the rate of the link,
/// and arrive after its delay, in the same order. Nothing is lost.
class Link {
 public:
  /// `rate` in bytes a second; 0: without a limit.
  void set(double rate, Clock::duration delay) {
    rate_ = rate;
    delay_ = delay;
  }
  /// Whether bytes may enter the link. If they entered earlier than the link can take them, they would queue up there,
  /// and the next answer of another connection would wait behind them.
  [[nodiscard]] bool is_free(Clock::time_point now) const { return rate_ == 0 || free_at() <= now; }
  [[nodiscard]] Clock::time_point free_at() const { return busy_until_ - kBurst; }
  /// When `count` bytes that enter the link now arrive.
  [[nodiscard]] Clock::time_point send(std::size_t count, Clock::time_point now) {
    busy_until_ = std::max(busy_until_, now);
    if (rate_ > 0) {
      busy_until_ += std::chrono::duration_cast<Clock::duration>(
          std::chrono::duration<double>(static_cast<double>(count) / rate_));
    }
    // Not before what entered earlier, though the delay was longer then.
    return arrived_ = std::max(arrived_, busy_until_ + delay_);
  }
  /// The most bytes of one connection that may be on their way. More than a link at this rate holds, so that a single
  /// connection can fill it.
  [[nodiscard]] std::size_t most_on_the_way() const {
    constexpr std::size_t kSlack = 1U << 20U;
    return kSlack +
           (rate_ == 0 ? 3 * kSlack : static_cast<std::size_t>(rate_ * std::chrono::duration<double>(delay_).count()));
  }

 private:
  /// So long before the link is free the next bytes may enter. Longer than a timer is late, so that no rate is lost.
  static constexpr std::chrono::milliseconds kBurst{2};

  double rate_ = 0;
  Clock::duration delay_{};
  Clock::time_point busy_until_;
  Clock::time_point arrived_;  // the last bytes
};

}  // namespace pkgfs::slow_proxy
