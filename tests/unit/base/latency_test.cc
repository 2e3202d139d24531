// SPDX-License-Identifier: MIT
// Risk: times that are off by more than is said, or durations that aren't counted.
#include "core/base/latency.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace pkgfs {
namespace {

TEST(LatencyBuckets, CoverEverythingInOrderWithAQuarterOfResolution) {
  std::uint64_t begin = 0;
  for (std::size_t i = 0; i < LatencyBuckets::kCount; ++i) {
    const std::uint64_t end = LatencyBuckets::end_of(i);
    ASSERT_GT(end, begin);
    EXPECT_EQ(LatencyBuckets::bucket_of(begin), i);
    EXPECT_EQ(LatencyBuckets::bucket_of(end - 1), i);
    if (i > 0 && i + 1 < LatencyBuckets::kCount) {
      EXPECT_LE(static_cast<double>(end), 1.25 * static_cast<double>(begin)) << "bucket " << i;
    }
    begin = end;
  }
  EXPECT_EQ(LatencyBuckets::bucket_of(0), 0U);
  EXPECT_EQ(LatencyBuckets::bucket_of(~std::uint64_t{0}), LatencyBuckets::kCount - 1);
  for (unsigned bit = 10; bit <= 32; bit += 2) {  // what the metrics show
    const std::size_t bucket = LatencyBuckets::bucket_of((std::uint64_t{1} << bit) - 1);
    EXPECT_EQ(LatencyBuckets::end_of(bucket), std::uint64_t{1} << bit);
  }
}

TEST(LatencyHistogram, CountsWhatAllThreadsAdd) {
  using std::chrono::nanoseconds;
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.counts().count, 0U);
  EXPECT_EQ(histogram.counts().quantile(0.5), 0U);
  std::vector<std::thread> threads;
  for (int thread = 1; thread <= 4; ++thread) {
    threads.emplace_back([&histogram, thread] {
      for (int i = 0; i < 1000; ++i) {
        histogram.add(nanoseconds(thread * 1000));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  histogram.add(nanoseconds(-5));  // a clock that went back
  const LatencyCounts counts = histogram.counts();
  EXPECT_EQ(counts.count, 4001U);
  EXPECT_EQ(counts.total, 10'000'000U);
  EXPECT_EQ(counts.longest, 4000U);
  EXPECT_EQ(counts.below(1024), 1001U);
  EXPECT_EQ(counts.quantile(1), 4000U);
  EXPECT_GE(counts.quantile(0.5), 2000U);
  EXPECT_LE(counts.quantile(0.5), 2500U);
}

}  // namespace
}  // namespace pkgfs
