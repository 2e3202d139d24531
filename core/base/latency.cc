// SPDX-License-Identifier: MIT
#include "core/base/latency.h"

#include <algorithm>
#include <cmath>

namespace pkgfs {

std::uint64_t LatencyBuckets::quantile(std::span<const std::uint64_t, kCount> counts, double share,
                                       std::uint64_t longest) {
  std::uint64_t all = 0;
  for (const std::uint64_t count : counts) {
    all += count;
  }
  const auto wanted = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(all)));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts.size() && all > 0; ++i) {
    seen += counts[i];
    if (seen >= wanted && seen > 0) {
      return std::min(end_of(i) - 1, longest);
    }
  }
  return 0;
}

std::uint64_t LatencyBuckets::below(std::span<const std::uint64_t, kCount> counts, std::uint64_t limit) {
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts.size() && end_of(i) <= limit; ++i) {
    seen += counts[i];
  }
  return seen;
}

void LatencyHistogram::add(std::chrono::nanoseconds duration) {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  const auto took = static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0));
  total_.fetch_add(took, kRelaxed);
  std::uint64_t known = longest_.load(kRelaxed);
  while (took > known && !longest_.compare_exchange_weak(known, took, kRelaxed)) {
  }
  buckets_.at(LatencyBuckets::bucket_of(took)).fetch_add(1, kRelaxed);
}

LatencyCounts LatencyHistogram::counts() const {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  LatencyCounts counts;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    counts.buckets.at(i) = buckets_.at(i).load(kRelaxed);
    counts.count += counts.buckets.at(i);
  }
  counts.total = total_.load(kRelaxed);
  counts.longest = longest_.load(kRelaxed);
  return counts;
}

}  // namespace pkgfs
