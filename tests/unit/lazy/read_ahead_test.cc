// SPDX-License-Identifier: MIT
// Risk: a reader in order waits although the connection to the server is idle, or blocks are fetched that no reader
// wants.
#include "core/lazy/read_ahead.h"

#include <gtest/gtest.h>

#include <set>

namespace pkgfs::test {
namespace {

constexpr std::uint64_t kOf64K = SparseFile::blocks_in(64U << 10U);
constexpr std::uint64_t kOf1M = SparseFile::blocks_in(1U << 20U);

/// Reads in order until the window has its largest size, and returns the request for the blocks that were missed last.
BlockRange grown(ReadAhead& read_ahead) {
  BlockRange need{0, kOf64K};
  std::uint64_t ahead = read_ahead.missed(need, 1);
  while (ahead < ReadAhead::kMost - kOf64K) {
    need = {need.end() + ahead, kOf64K};
    ahead = read_ahead.missed(need, 1);
  }
  return {need.first, need.count + ahead};
}

TEST(ReadAhead, OneMissIsNoReaderInOrder) {
  ReadAhead read_ahead;
  EXPECT_EQ(read_ahead.missed({100, kOf64K}, 1), 0U);
  EXPECT_EQ(read_ahead.missed({5000, kOf64K}, 1), 0U);
  EXPECT_EQ(read_ahead.missed({300, kOf64K}, 1), 0U);
}

TEST(ReadAhead, ReadsMoreAndMoreAheadButOneRequestAtATime) {
  ReadAhead read_ahead;
  const BlockRange last = grown(read_ahead);
  EXPECT_EQ(last.count, ReadAhead::kMost) << "what the reader needs and what lies behind it fit into one request";
  // The reader has come further within what is being fetched.
  EXPECT_EQ(read_ahead.missed({last.first + kOf64K, kOf64K}, 1), last.count - 2 * kOf64K) << "nothing is added";
}

/// A reader that waits for the network never reaches a mark: what comes must lead on.
TEST(ReadAhead, TheNextRequestBeginsBeforeTheLastOneEnds) {
  ReadAhead read_ahead;
  const BlockRange last = grown(read_ahead);
  const BlockRange next = read_ahead.arriving(last);
  EXPECT_EQ(next, (BlockRange{last.end(), ReadAhead::kMost}));
  EXPECT_TRUE(read_ahead.arriving(last).empty()) << "only once";
  EXPECT_TRUE(read_ahead.arriving(next).empty()) << "the reader hasn't come so far";
  (void)read_ahead.missed({last.end() - kOf64K, kOf64K}, 1);
  EXPECT_EQ(read_ahead.arriving(next), (BlockRange{next.end(), ReadAhead::kMost})) << "now it has";
}

TEST(ReadAhead, AShortRunOfReadsDoesNotGoOnByItself) {
  ReadAhead read_ahead;
  BlockRange need{0, kOf64K};
  std::uint64_t ahead = read_ahead.missed(need, 1);
  while (ahead < kOf1M / 2) {
    EXPECT_TRUE(read_ahead.arriving({need.first, need.count + ahead}).empty());
    need = {need.end() + ahead, kOf64K};
    ahead = read_ahead.missed(need, 1);
  }
}

TEST(ReadAhead, AReaderThatReachesTheMarkGetsMoreUnlessEnoughIsAhead) {
  ReadAhead read_ahead;
  const BlockRange last = grown(read_ahead);
  const BlockRange middle{last.first + last.count / 2, 1};
  ASSERT_TRUE(read_ahead.is_marked({last.first, last.count}));
  std::uint64_t mark = last.first;
  while (!read_ahead.is_marked({mark, 1})) {
    ++mark;
  }
  EXPECT_NEAR(static_cast<double>(mark), static_cast<double>(middle.first), kOf64K);
  const BlockRange next = read_ahead.arriving(last);
  EXPECT_TRUE(read_ahead.reached({mark, 1}).empty()) << "a whole window is ahead of it";
  mark = next.first;
  while (!read_ahead.is_marked({mark, 1}) && mark < next.end()) {
    ++mark;
  }
  EXPECT_EQ(read_ahead.reached({mark, 1}).first, next.end());
}

}  // namespace
}  // namespace pkgfs::test
