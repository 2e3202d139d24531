// SPDX-License-Identifier: MIT
// Risk: while readers wait, the background fetches blocks far from those that they read, or makes them wait behind long
// requests.
#include "core/lazy/near_fetch.h"

#include <gtest/gtest.h>

#include "core/lazy/request_size.h"

namespace pkgfs {
namespace {

using std::chrono::milliseconds;

TEST(NearFetch, LooksBehindTheLastMissAndThenBeforeIt) {
  NearFetch near;
  near.missed({100, 3});
  EXPECT_EQ(near.areas(1000, 4)[0], (BlockRange{103, 8}));
  EXPECT_EQ(near.areas(1000, 4)[1], (BlockRange{96, 4}));
}

TEST(NearFetch, StaysWithinTheFile) {
  NearFetch near;
  near.missed({0, 9});
  EXPECT_TRUE(near.areas(9, 4)[0].empty());
  EXPECT_TRUE(near.areas(9, 4)[1].empty());
  near.missed({1, 7});
  EXPECT_EQ(near.areas(9, 4)[0], (BlockRange{8, 1}));
  EXPECT_EQ(near.areas(9, 4)[1], (BlockRange{0, 1}));
}

TEST(NearFetch, IsNowhereWithoutAMiss) {
  NearFetch near;
  EXPECT_TRUE(near.areas(9, 4)[0].empty());
  near.missed({3, 1});
  near.reset();
  EXPECT_TRUE(near.areas(9, 4)[0].empty());
  EXPECT_TRUE(near.areas(9, 4)[1].empty());
}

TEST(RequestSize, GrowsOnlyWhileRequestsAreFast) {
  constexpr auto kWanted = RequestSize::kWithReaders;
  RequestSize size;
  const std::uint64_t first = size.blocks();
  for (int i = 0; i < 10; ++i) {
    size.took(size.blocks(), milliseconds(5), kWanted);
  }
  EXPECT_EQ(size.blocks(), RequestSize::kMost);
  size.took(size.blocks(), kWanted / 2, kWanted);
  EXPECT_EQ(size.blocks(), RequestSize::kMost) << "neither fast nor slow";
  size.shrink();
  EXPECT_EQ(size.blocks(), first);
  for (int i = 0; i < 10; ++i) {
    size.took(size.blocks(), milliseconds(900), kWanted);
  }
  EXPECT_EQ(size.blocks(), RequestSize::kLeast);
}

TEST(RequestSize, AShortRequestDoesNotShowThatALongOneIsFast) {
  RequestSize size;
  const std::uint64_t before = size.blocks();
  size.took(1, milliseconds(1), RequestSize::kWithReaders);
  EXPECT_EQ(size.blocks(), before);
}

}  // namespace
}  // namespace pkgfs
