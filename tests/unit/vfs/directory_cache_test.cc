// SPDX-License-Identifier: MIT
// Risk: the cache of merged directories grows beyond its budget, or evicts what is in use.
#include <gtest/gtest.h>

#include "core/vfs/directory_cache.h"

namespace pkgfs::vfs {
namespace {

std::unique_ptr<OverlayContent> content(std::uint64_t number, std::size_t bytes) {
  auto made = std::make_unique<OverlayContent>();
  made->number = number;
  made->directory = number + 1'000'000;
  made->bytes = bytes;
  return made;
}

TEST(DirectoryCache, KeepsItsBudgetAndWhatIsUsed) {
  DirectoryCache cache(100'000);
  for (std::uint64_t number = 1; number <= 10'000; ++number) {
    const ReadSection reading;
    cache.add(content(number, 1'000));
    EXPECT_LE(cache.bytes(), 101'000U);
    EXPECT_NE(cache.find(7) == nullptr, number >= 7);
  }
  const ReadSection reading;
  EXPECT_EQ(cache.find(1), nullptr);
  EXPECT_GT(cache.bytes(), 80'000U);
}

TEST(DirectoryCache, RemembersSomeOfTheEvicted) {
  DirectoryCache cache(100'000);
  for (std::uint64_t number = 1; number <= 150; ++number) {
    const ReadSection reading;
    cache.add(content(number, 1'000));
  }
  const ReadSection reading;
  EXPECT_EQ(cache.find(1), nullptr);
  EXPECT_EQ(cache.evicted(1), 1'000'001U);
  EXPECT_EQ(cache.evicted(150), 0U);
  for (std::uint64_t number = 151; number <= 100'000; ++number) {
    cache.add(content(number, 1'000));
  }
  std::size_t known = 0;
  for (std::uint64_t number = 1; number <= 100'000; ++number) {
    known += cache.evicted(number) != 0 ? 1 : 0;
  }
  EXPECT_GT(known, 90U);
  EXPECT_LT(known, 1'000U) << "a table that never forgets grows without a bound";
}

}  // namespace
}  // namespace pkgfs::vfs
