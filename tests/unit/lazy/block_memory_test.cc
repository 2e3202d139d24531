// SPDX-License-Identifier: MIT
// Risk: with a full disk, the daemon takes ever more memory, drops bytes that a reader copies, or takes the bytes of
// one container for those of another.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "core/lazy/block_memory.h"
#include "core/lazy/sparse_file.h"

namespace pkgfs::test {
namespace {

using Clock = BlockMemory::Clock;
constexpr std::uint64_t kBlock = SparseFile::kBlock;
constexpr std::uint64_t kPiece = 16;  // blocks
const Clock::time_point kStart = Clock::now();
const Clock::time_point kLater = kStart + 10 * BlockMemory::kLeast;

class BlockMemoryTest : public ::testing::Test {
 protected:
  bool put(const void* owner, std::uint64_t first, Clock::time_point now, std::uint64_t count = kPiece) {
    const auto piece = memory_.reserve({first, count}, count * kBlock, now);
    if (piece == nullptr) {
      return false;
    }
    piece->writable().front() = static_cast<std::byte>(first / kPiece);
    memory_.add(owner, piece, now);
    return true;
  }

  BlockMemory memory_;
  int one_ = 0;
  int two_ = 0;
};

TEST_F(BlockMemoryTest, FindsWhatOnePieceCovers) {
  EXPECT_TRUE(memory_.is_empty());
  ASSERT_TRUE(put(&one_, 16, kStart));
  ASSERT_TRUE(put(&one_, 32, kStart));
  EXPECT_FALSE(memory_.is_empty());
  EXPECT_EQ(memory_.find(&one_, {16, 16})->bytes().front(), std::byte{1});
  EXPECT_EQ(memory_.find(&one_, {47, 1})->bytes().front(), std::byte{2});
  EXPECT_EQ(memory_.find(&one_, {31, 2}), nullptr) << "in two pieces";
  EXPECT_EQ(memory_.find(&one_, {15, 2}), nullptr);
  EXPECT_EQ(memory_.find(&two_, {16, 1}), nullptr) << "another container";
  memory_.remove_all(&two_);
  EXPECT_NE(memory_.find(&one_, {16, 1}), nullptr);
  memory_.remove(memory_.find(&one_, {16, 1}));
  EXPECT_EQ(memory_.find(&one_, {16, 1}), nullptr);
  memory_.remove_all(&one_);
  EXPECT_TRUE(memory_.is_empty());
  EXPECT_EQ(memory_.used(), 0U);
}

TEST_F(BlockMemoryTest, DropsTheLongestUnusedPieceAndNeverHasMoreThanItsLimit) {
  constexpr std::uint64_t kPieces = BlockMemory::kMost / (kPiece * kBlock);
  for (std::uint64_t i = 0; i < kPieces; ++i) {
    ASSERT_TRUE(put(&one_, i * kPiece, kStart));
  }
  EXPECT_EQ(memory_.used(), BlockMemory::kMost);
  EXPECT_FALSE(put(&one_, kPieces * kPiece, kStart)) << "all pieces are too young to be dropped";
  ASSERT_NE(memory_.find(&one_, {0, 1}), nullptr);
  ASSERT_TRUE(put(&one_, kPieces * kPiece, kLater));
  EXPECT_LE(memory_.used(), BlockMemory::kMost);
  EXPECT_NE(memory_.find(&one_, {0, 1}), nullptr) << "it was used last";
  EXPECT_EQ(memory_.find(&one_, {kPiece, 1}), nullptr);
  EXPECT_NE(memory_.find(&one_, {2 * kPiece, 1}), nullptr);
}

TEST_F(BlockMemoryTest, WhatIsHeldOrFetchedCountsAndStays) {
  constexpr std::uint64_t kHalf = BlockMemory::kMost / 2 / kBlock;
  ASSERT_TRUE(put(&one_, 0, kStart, kHalf));
  auto held = memory_.find(&one_, {0, 1});
  auto fetching = memory_.reserve({kHalf, kHalf}, kHalf * kBlock, kLater);
  ASSERT_NE(fetching, nullptr);
  EXPECT_FALSE(put(&two_, 0, kLater, 1)) << "one half is being fetched, and a reader copies the other";
  memory_.remove_idle();
  EXPECT_NE(memory_.find(&one_, {0, 1}), nullptr);
  memory_.remove_all(&one_);
  EXPECT_FALSE(put(&two_, 0, kLater, 1)) << "the reader still has it";
  held.reset();
  EXPECT_TRUE(put(&two_, 0, kLater, 1));
  fetching.reset();
  memory_.remove_idle();
  EXPECT_EQ(memory_.used(), 0U);
  EXPECT_EQ(memory_.reserve({0, 2 * kHalf + 1}, BlockMemory::kMost + 1, kLater), nullptr);
}

TEST_F(BlockMemoryTest, AHashIsRightForOnePieceOnly) {
  ASSERT_TRUE(put(&one_, 0, kStart));
  const auto first = memory_.find(&one_, {0, 1});
  first->set_checked(70'000);
  EXPECT_TRUE(first->is_checked(70'000));
  EXPECT_FALSE(first->is_checked(0));
  ASSERT_TRUE(put(&one_, 0, kStart));
  EXPECT_FALSE(memory_.find(&one_, {0, 1})->is_checked(70'000)) << "it came from the server once more";
}

TEST_F(BlockMemoryTest, ManyThreadsStayWithinTheLimit) {
  std::atomic<bool> too_much{false};
  std::atomic<bool> wrong{false};
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 8; ++seed) {
    threads.emplace_back([&, seed] {
      std::minstd_rand random(seed + 1);
      for (int i = 0; i < 400; ++i) {
        const std::uint64_t number = random() % 200;
        if (random() % 2 == 0) {
          (void)put(random() % 2 == 0 ? &one_ : &two_, number * kPiece, kLater + i * BlockMemory::kLeast);
        } else if (const auto piece = memory_.find(&one_, {number * kPiece, 1})) {
          wrong = wrong || piece->bytes().front() != static_cast<std::byte>(piece->range().first / kPiece);
        }
        too_much = too_much || memory_.used() > BlockMemory::kMost;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_FALSE(too_much);
  EXPECT_FALSE(wrong);
  memory_.remove_idle();
  EXPECT_EQ(memory_.used(), 0U);
}

}  // namespace
}  // namespace pkgfs::test
