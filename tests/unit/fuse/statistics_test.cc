// SPDX-License-Identifier: MIT
// Risk: counts that are lost between threads, or times that are off by more than is said.
#include "fuse/statistics.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <thread>
#include <vector>

namespace pkgfs::fuse {
namespace {

TEST(Snapshot, QuantilesAreNeverTooLowAndAtMostAQuarterTooHigh) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<> durations(10, 2);
  Snapshot::Operation operation;
  std::vector<std::uint64_t> all;
  for (int i = 0; i < 20000; ++i) {
    all.push_back(256 + static_cast<std::uint64_t>(durations(random)));
    ++operation.buckets.at(LatencyBuckets::bucket_of(all.back()));
    operation.longest = std::max(operation.longest, all.back());
  }
  std::sort(all.begin(), all.end());
  for (const double share : {0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(all.size())));
    const std::uint64_t exact = all.at(rank - 1);
    EXPECT_GE(operation.quantile(share), exact) << share;
    EXPECT_LE(static_cast<double>(operation.quantile(share)), 1.25 * static_cast<double>(exact)) << share;
  }
  EXPECT_EQ(operation.quantile(1), all.back());
  EXPECT_EQ(Snapshot::Operation().quantile(0.5), 0U);
  EXPECT_EQ(operation.below(1U << 16U),
            static_cast<std::uint64_t>(std::lower_bound(all.begin(), all.end(), 1U << 16U) - all.begin()));
}

TEST(Statistics, NothingIsLostBetweenThreadsHoweverManyThereAre) {
  constexpr int kThreads = 70;  // more than there are slots
  constexpr int kEach = 2000;
  Statistics statistics;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&statistics] {
      for (int n = 0; n < kEach; ++n) {
        Statistics::Measure measure(statistics, n % 2 == 0 ? Request::kRead : Request::kLookup);
        measure.bytes_read(n % 2 == 0 ? 10 : 0);
        measure.failed(n % 10 == 0 ? EIO : ENOENT);
        statistics.add_prefetched(3);
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    const Snapshot during = statistics.snapshot();  // may be asked at any time
    EXPECT_LE(during[Request::kRead].answered, std::uint64_t{kThreads} * kEach / 2);
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const Snapshot counts = statistics.snapshot();
  constexpr std::uint64_t kHalf = std::uint64_t{kThreads} * kEach / 2;
  for (const Request request : {Request::kRead, Request::kLookup}) {
    EXPECT_EQ(counts[request].requests, kHalf);
    EXPECT_EQ(counts[request].answered, kHalf);
    EXPECT_GT(counts[request].total, 0U);
    EXPECT_GE(counts[request].longest, counts[request].quantile(0.99));
  }
  EXPECT_EQ(counts[Request::kRead].failures.at(static_cast<std::size_t>(Failure::kIo)), kHalf / 5);
  EXPECT_EQ(counts[Request::kOpen].requests, 0U);
  EXPECT_EQ(counts.bytes_read, 10 * kHalf);
  EXPECT_EQ(counts.files_pushed, 2 * kHalf);
  EXPECT_EQ(counts.bytes_pushed, 6 * kHalf);
}

TEST(Statistics, AreTimedFromTheRequestToItsAnswer) {
  Statistics statistics;
  {
    const Statistics::Measure measure(statistics, Request::kRead);
    EXPECT_EQ(statistics.requests(Request::kRead), 1U) << "counted when it comes";
    EXPECT_EQ(statistics.snapshot()[Request::kRead].answered, 0U);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  const Snapshot counts = statistics.snapshot();
  EXPECT_GE(counts[Request::kRead].longest, 20'000'000U);
  EXPECT_GE(counts[Request::kRead].quantile(0.5), 20'000'000U);
  EXPECT_GE(counts.uptime, 0.02);
}

TEST(Statistics, OrdinaryAnswersAreNoErrors) {
  Statistics statistics;
  for (const int error : {0, ENOENT, ENODATA, ERANGE, ENOSYS, EIO, EROFS, ENOMEM, ESTALE, EACCES, EISDIR, ELOOP}) {
    Statistics::Measure(statistics, Request::kOpen).failed(error);
  }
  const Snapshot counts = statistics.snapshot();
  const std::array<std::uint64_t, kFailures> expected{1, 1, 1, 1, 1, 2};  // as in `Failure`
  EXPECT_EQ(counts[Request::kOpen].failures, expected);
  EXPECT_EQ(counts[Request::kOpen].requests, 12U);
  EXPECT_EQ(counts[Request::kOpen].answered, 12U);
}

}  // namespace
}  // namespace pkgfs::fuse
