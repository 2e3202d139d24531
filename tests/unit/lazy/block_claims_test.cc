// SPDX-License-Identifier: MIT
// Risk: a block is fetched twice, or no process fetches it because a dead one has claimed it.
#include "core/lazy/block_claims.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/base/files.h"
#include "tests/unit/lazy/child.h"
#include "tests/unit/lazy/lazy_directory.h"

namespace pkgfs::test {
namespace {

class BlockClaimsTest : public LazyDirectory {};

TEST_F(BlockClaimsTest, AClaimIsTheFirstRunThatIsFree) {
  const auto file = open();
  fetch(*file, {10, 10});
  auto first = file->claim({5, 20});
  ASSERT_TRUE(first);
  EXPECT_EQ(first->range(), (BlockRange{5, 5}));
  const auto second = file->claim({5, 20});
  ASSERT_TRUE(second);
  EXPECT_EQ(second->range(), (BlockRange{20, 5}));
  EXPECT_FALSE(file->claim({5, 20}));
  const auto around = file->claim({3, 20});
  ASSERT_TRUE(around);
  EXPECT_EQ(around->range(), (BlockRange{3, 2}));
  EXPECT_FALSE(file->claim({kBlocks, 5}));
  EXPECT_FALSE(file->claim({}));
  const SparseFile::Claim moved = std::move(*first);
  first.reset();
  EXPECT_FALSE(file->claim({5, 20})) << "a moved claim stays one";
}

TEST_F(BlockClaimsTest, AnotherOpenFileSeesAClaimUntilItsEnd) {
  const auto one = open();
  const auto two = open();
  {
    const auto claim = one->claim({10, 10});
    ASSERT_TRUE(claim);
    EXPECT_FALSE(two->claim({10, 10}));
    EXPECT_EQ(two->claim({5, 10}).value().range(), (BlockRange{5, 5}));
    EXPECT_EQ(two->claim({15, 10}).value().range(), (BlockRange{20, 5}));
    EXPECT_EQ(two->claim({0, kBlocks}).value().range(), (BlockRange{0, 10}));
    fetch(*one, {10, 4});
  }
  EXPECT_EQ(two->claim({10, 10}).value().range(), (BlockRange{14, 6})) << "blocks that were fetched aren't claimed";
  EXPECT_EQ(one->claim({10, 10}).value().range(), (BlockRange{14, 6})) << "a temporary claim is gone at once";
}

TEST_F(BlockClaimsTest, TwoProcessesSeeWhatTheOtherOneFetched) {
  const auto file = open();
  Signal half;
  Signal go;
  Child other([&] {
    const auto theirs = open();
    const auto claim = theirs->claim({50, 50});
    fetch(*theirs, claim.value().range());
    half.say();
    return go.wait() && theirs->has({0, 50}) && is_right(*theirs, 0) && theirs->is_complete();
  });
  ASSERT_TRUE(half.wait());
  EXPECT_TRUE(file->has({50, 50}));
  EXPECT_TRUE(is_right(*file, 99));
  fetch(*file, {0, 50});
  go.say();
  EXPECT_TRUE(other.wait());
}

TEST_F(BlockClaimsTest, TheClaimsOfAKilledProcessAreFree) {
  const auto file = open();
  Signal claimed;
  Signal never;
  Child other([&] {
    const auto theirs = open();
    const auto claim = theirs->claim({0, kBlocks});
    claimed.say();
    return never.wait();
  });
  ASSERT_TRUE(claimed.wait());
  EXPECT_FALSE(file->claim({0, kBlocks}));
  other.kill();
  EXPECT_EQ(file->claim({0, kBlocks}).value().range(), (BlockRange{0, kBlocks}));
}

/// Claims blocks until all are there. Writes a line for each claimed block into `journal`.
void fetch_all(SparseFile& file, unsigned seed, int journal) {
  while (!file.is_complete()) {
    seed = seed * 1'103'515'245 + 12345;
    const std::uint64_t first = (seed >> 8U) % kBlocks;
    if (auto claim = file.claim({first, 1 + (seed >> 20U) % 7})) {
      std::string line;
      for (std::uint64_t block = claim->range().first; block < claim->range().end(); ++block) {
        line += std::to_string(block) + "\n";
        file.write(block * kBlock, std::vector<std::byte>(10, std::byte{1}));
      }
      write_all(journal, line, "journal");
      file.mark_present(claim->range());
    }
  }
}

TEST_F(BlockClaimsTest, ThreadsAndProcessesClaimEachBlockOnce) {
  const UniqueFd journal(::open((dir_.path() / "journal").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const auto fill = [&](unsigned seed) {
    const auto file = open();
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 8; ++i) {
      threads.emplace_back([&, i] { fetch_all(*file, seed + i, journal.get()); });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    return true;
  };
  for (unsigned round = 0; round < 20; ++round) {
    Child one([&] { return fill(round * 100 + 1); });
    Child two([&] { return fill(round * 100 + 51); });
    EXPECT_TRUE(one.wait());
    EXPECT_TRUE(two.wait());
    std::vector<int> counts(kBlocks);
    std::ifstream lines(dir_.path() / "journal");
    for (std::uint64_t block = 0; lines >> block;) {
      ++counts.at(block);
    }
    EXPECT_THAT(counts, ::testing::Each(1));
    open()->remove();
    std::filesystem::resize_file(dir_.path() / "journal", 0);
  }
}

}  // namespace
}  // namespace pkgfs::test
