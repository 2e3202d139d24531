// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/latency.h"

namespace pkgfs {

/// Counts of what was fetched for lazy containers, since the process started. Thread-safe.
struct LazyCounters {
  std::atomic<std::uint64_t> requests{0};      // range requests that were begun
  std::atomic<std::uint64_t> failures{0};      // of those, the ones that failed
  std::atomic<std::uint64_t> bytes{0};         // bytes that came
  LatencyHistogram first_bytes;                // from the begin of such a request to the first byte of its answer
  std::atomic<std::uint64_t> reads{0};         // reads that waited for a server, also those that still wait
  std::atomic<std::uint64_t> failed_reads{0};  // of those, the ones that failed
  LatencyHistogram waits;                      // of the reads whose wait is over; 0 for one that failed at once
  std::atomic<std::uint64_t> checked{0};       // files whose stored hash was compared
  std::atomic<std::uint64_t> mismatches{0};    // of those, the ones whose hash differed
};

}  // namespace pkgfs
