// SPDX-License-Identifier: MIT
// Risk: while readers wait, the background fetches blocks far from those that they read, or makes them wait behind long
// requests.
#include "core/lazy/near_fetch.h"

#include <gtest/gtest.h>

namespace pkgfs {
namespace {

using std::chrono::milliseconds;

TEST(NearFetch, LooksBehindTheLastMissAndThenBeforeIt) {
  NearFetch near;
  near.missed({100, 3});
  const auto areas = near.areas(1000);
  EXPECT_EQ(areas[0], (BlockRange{103, 2 * near.most()}));
  EXPECT_EQ(areas[1], (BlockRange{100 - near.most(), near.most()}));
}

TEST(NearFetch, StaysWithinTheFile) {
  NearFetch near;
  near.missed({0, 9});
  EXPECT_TRUE(near.areas(9)[0].empty());
  EXPECT_TRUE(near.areas(9)[1].empty());
  near.missed({1, 7});
  EXPECT_EQ(near.areas(9)[0], (BlockRange{8, 1}));
  EXPECT_EQ(near.areas(9)[1], (BlockRange{0, 1}));
}

TEST(NearFetch, RequestsGetLongerOnlyWhileTheyAreFast) {
  NearFetch near;
  for (int i = 0; i < 10; ++i) {
    near.began();
    EXPECT_TRUE(near.is_running());
    near.ended(milliseconds(10));
  }
  EXPECT_FALSE(near.is_running());
  EXPECT_EQ(near.most(), NearFetch::kMostBlocks);
  near.ended(milliseconds(120));
  EXPECT_EQ(near.most(), NearFetch::kMostBlocks) << "neither fast nor slow";
  for (int i = 0; i < 10; ++i) {
    near.ended(milliseconds(900));
  }
  EXPECT_EQ(near.most(), 1U);
}

}  // namespace
}  // namespace pkgfs
