// SPDX-License-Identifier: MIT
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace pkgfs::fuse {

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

 private:
  static constexpr std::size_t kMask = (std::size_t{1} << kSubBits) - 1;
};

}  // namespace pkgfs::fuse
