// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace pkgfs {

/// The buckets in which durations are counted. There are four for every factor of two between 256 ns and 34 s, one for
/// shorter and one for longer durations. Between these two, the end of a bucket is at most 25 % above any duration in
/// it. A quantile is as exact as that. Pure functions; durations in nanoseconds.
class LatencyBuckets {
 public:
  static constexpr unsigned kFirstBit = 8;  // 2^8 ns
  static constexpr unsigned kLastBit = 35;  // 2^35 ns
  static constexpr unsigned kSubBits = 2;
  static constexpr std::size_t kCount = 2 + (std::size_t{kLastBit - kFirstBit} << kSubBits);

  [[nodiscard]] static constexpr std::size_t bucket_of(std::uint64_t duration) {
    const auto bit = static_cast<unsigned>(std::bit_width(duration | 1U)) - 1;
    if (bit < kFirstBit) {
      return 0;
    }
    if (bit >= kLastBit) {
      return kCount - 1;
    }
    const auto part = static_cast<std::size_t>(duration >> (bit - kSubBits)) & kMask;
    return 1 + (std::size_t{bit - kFirstBit} << kSubBits) + part;
  }
  /// The first duration after the bucket.
  [[nodiscard]] static constexpr std::uint64_t end_of(std::size_t bucket) {
    if (bucket == 0) {
      return std::uint64_t{1} << kFirstBit;
    }
    if (bucket >= kCount - 1) {
      return std::numeric_limits<std::uint64_t>::max();
    }
    const std::size_t at = bucket - 1;
    return (kMask + 2 + (at & kMask)) << (kFirstBit - kSubBits + (at >> kSubBits));
  }
  /// The duration that the part `share` (0 to 1) of the counted durations doesn't exceed, if the longest one is
  /// `longest`. Never too low. From 256 ns on, it is at most 25 % too high. 0 if none was counted.
  [[nodiscard]] static std::uint64_t quantile(std::span<const std::uint64_t, kCount> counts, double share,
                                              std::uint64_t longest);
  /// How many durations are below `limit`, which must be the end of a bucket.
  [[nodiscard]] static std::uint64_t below(std::span<const std::uint64_t, kCount> counts, std::uint64_t limit);

 private:
  static constexpr std::size_t kMask = (std::size_t{1} << kSubBits) - 1;
};

/// Durations that were counted up to one moment.
struct LatencyCounts {
  std::uint64_t count = 0;
  std::uint64_t total = 0;    // nanoseconds
  std::uint64_t longest = 0;  // nanoseconds
  std::array<std::uint64_t, LatencyBuckets::kCount> buckets{};

  [[nodiscard]] std::uint64_t quantile(double share) const { return LatencyBuckets::quantile(buckets, share, longest); }
  [[nodiscard]] std::uint64_t below(std::uint64_t limit) const { return LatencyBuckets::below(buckets, limit); }
};

/// Counts durations that are rare: all threads write to the same cache lines. Thread-safe and without locks.
class LatencyHistogram {
 public:
  void add(std::chrono::nanoseconds duration);
  [[nodiscard]] LatencyCounts counts() const;

 private:
  using Count = std::atomic<std::uint64_t>;
  Count total_{0};
  Count longest_{0};
  std::array<Count, LatencyBuckets::kCount> buckets_{};
};

}  // namespace pkgfs
