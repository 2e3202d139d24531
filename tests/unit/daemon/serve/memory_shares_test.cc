// SPDX-License-Identifier: MIT
// Risk: the packages of a served directory together use many times the memory that the user allows.
#include "daemon/serve/memory_shares.h"

#include <gtest/gtest.h>

#include <vector>

namespace pkgfs::test {
namespace {

TEST(MemoryShares, AreBoundedTogetherAndComeBack) {
  for (const std::size_t total : {std::size_t{1} << 10U, std::size_t{1} << 20U, std::size_t{32} << 20U}) {
    MemoryShares shares(total);
    const std::size_t first = shares.take().bytes();
    std::vector<MemoryShares::Share> taken;
    std::size_t sum = 0;
    for (std::size_t i = 0; i < shares.most(); ++i) {
      taken.push_back(shares.take());
      EXPECT_GT(taken.back().bytes(), 0U);
      sum += taken.back().bytes();
    }
    EXPECT_LE(sum, 9 * total) << total;
    taken.clear();
    EXPECT_EQ(shares.take().bytes(), first);
  }
}

}  // namespace
}  // namespace pkgfs::test
