// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

namespace pkgfs {

/// Judges whether a transfer makes progress, by the number of bytes that have come and by the time. libcurl's own limit
/// for slow transfers isn't used. It averages over the time of the request, too, and so ends a silent transfer seconds
/// late. The caller passes the time to each call; it may not go backwards. Not thread-safe.
class Pace {
 public:
  using Clock = std::chrono::steady_clock;

  struct Limits {
    std::chrono::milliseconds silence{30'000};  // the longest time without a byte
    std::chrono::milliseconds window{30'000};   // the time over which the rate is measured
    std::uint64_t slowest = 256;  // bytes a second; if n transfers share the network, each needs an n-th of it
    std::optional<Clock::time_point> deadline = std::nullopt;  // when the transfer must have ended
  };
  enum class Verdict {
    kFine,
    kSilent,  // no byte came for `Limits::silence`
    kSlow,    // too few bytes came within `Limits::window`
    kLate,    // the deadline has passed
  };

  explicit Pace(const Limits& limits) : limits_(limits) {}

  /// Records that a request goes out on an open connection. Until the first call, only the deadline counts, because
  /// libcurl limits the time to connect.
  void sent(Clock::time_point now) { last_ = now; }
  /// `bytes` have come so far, in all.
  void received(std::uint64_t bytes, Clock::time_point now);
  /// Records that this process was busy from `from` to `to` and could take no bytes. That time doesn't count against
  /// the server.
  void paused(Clock::time_point from, Clock::time_point to);
  /// `transfers`: how many share the connection to the network. Each of them needs only its part of the lowest rate.
  [[nodiscard]] Verdict judge(Clock::time_point now, std::size_t transfers) const;

  [[nodiscard]] const Limits& limits() const { return limits_; }

 private:
  static constexpr int kSamples = 10;  // in one window

  Limits limits_;
  std::optional<Clock::time_point> last_;  // of the last byte, or of the request
  std::uint64_t bytes_ = 0;
  /// How many bytes had come at which time, from the first byte on. At most one is older than the window.
  std::deque<std::pair<Clock::time_point, std::uint64_t>> samples_;
};

}  // namespace pkgfs
