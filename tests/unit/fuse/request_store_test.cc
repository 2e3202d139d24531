// SPDX-License-Identifier: MIT
// Risk: a successor misses a request of the daemon before it, or trusts a file that isn't one of pkgfs.
#include "fuse/request_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "tests/unit/fuse/successor_fixture.h"

namespace pkgfs::fuse {
namespace {

std::vector<char> request_of(std::uint64_t unique, std::size_t body = 8, std::uint32_t opcode = FUSE_GETATTR) {
  fuse_in_header header{};
  header.len = static_cast<std::uint32_t>(sizeof(header) + body);
  header.opcode = opcode;
  header.unique = unique;
  std::vector<char> bytes(header.len, 'x');
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

fuse_in_header header_of_bytes(const std::vector<char>& bytes) {
  fuse_in_header header{};
  std::memcpy(&header, bytes.data(), sizeof(header));
  return header;
}

std::unique_ptr<RequestStore> successor_of(const RequestStore& store) {
  return RequestStore::adopt(copy_of(store.fd()));
}

std::vector<std::uint64_t> numbers(const std::vector<RequestStore::Recovered>& requests) {
  std::vector<std::uint64_t> all;
  for (const RequestStore::Recovered& one : requests) {
    all.push_back(header_of_bytes(one.bytes).unique);
  }
  return all;
}

using Numbers = std::vector<std::uint64_t>;

TEST(RequestStore, KeepsWhatIsNotAnswered) {
  const auto store = RequestStore::create();
  char* const slot = store->open_slot(0);
  ASSERT_NE(slot, nullptr);
  RequestStore::put(store->open_slot(3), request_of(30));
  RequestStore::put(slot, request_of(20));
  RequestStore::Kept waiting = store->keep(request_of(10));
  {
    const RequestStore::Kept answered = store->keep(request_of(11));
  }
  RequestStore::put(store->open_slot(1), request_of(12));
  RequestStore::clear(store->open_slot(1));
  const auto successor = successor_of(*store);
  std::vector<RequestStore::Recovered> found = successor->recover();
  EXPECT_EQ(numbers(found), (Numbers{10, 20, 30})) << "the oldest first";
  EXPECT_EQ(found[0].bytes, request_of(10));
  EXPECT_EQ(found[1].bytes, request_of(20));
  EXPECT_TRUE(found[0].is_whole);
}

TEST(RequestStore, WhatWasRecoveredStaysKeptUntilItIsAnswered) {
  const auto store = RequestStore::create();
  RequestStore::put(store->open_slot(0), request_of(1));
  RequestStore::put(store->open_slot(1), request_of(2));
  const RequestStore::Kept waiting = store->keep(request_of(3));
  const auto second = successor_of(*store);
  std::vector<RequestStore::Recovered> found = second->recover();
  ASSERT_EQ(numbers(found), (Numbers{1, 2, 3}));
  (void)second->open_slot(0);  // a server thread begins, and takes its first request
  found.erase(found.begin() + 1);
  EXPECT_EQ(numbers(successor_of(*second)->recover()), (Numbers{1, 3}));
}

TEST(RequestStore, ARequestThatIsKeptTwiceIsAnsweredOnce) {
  const auto store = RequestStore::create();
  RequestStore::put(store->open_slot(0), request_of(1));
  const RequestStore::Kept copy = store->keep(request_of(1));
  EXPECT_EQ(numbers(successor_of(*store)->recover()), Numbers{1});
}

TEST(RequestStore, OfALongRequestOnlyTheHeaderIsKeptElsewhere) {
  const auto store = RequestStore::create();
  const RequestStore::Kept long_one = store->keep(request_of(1, 2000));
  RequestStore::put(store->open_slot(0), request_of(2, 2000));
  const auto second = successor_of(*store);
  {
    const std::vector<RequestStore::Recovered> found = second->recover();
    ASSERT_EQ(numbers(found), (Numbers{1, 2}));
    EXPECT_FALSE(found[0].is_whole);
    EXPECT_EQ(found[0].bytes.size(), sizeof(fuse_in_header));
    EXPECT_TRUE(found[1].is_whole);
    EXPECT_EQ(found[1].bytes, request_of(2, 2000));
    EXPECT_FALSE(successor_of(*second)->recover().at(0).is_whole) << "nor later";
  }
  EXPECT_TRUE(successor_of(*second)->recover().empty());
}

TEST(RequestStore, CountsWhatFindsNoPlace) {
  const auto store = RequestStore::create();
  std::vector<RequestStore::Kept> kept;
  for (std::size_t i = 0; i < RequestStore::kPlaces + 3; ++i) {
    kept.push_back(store->keep(request_of(i + 1)));
  }
  EXPECT_EQ(successor_of(*store)->lost(), 3U);
  kept.pop_back();
  EXPECT_EQ(successor_of(*store)->lost(), 2U) << "it was answered";
  kept.erase(kept.begin());
  kept.push_back(store->keep(request_of(70'000)));
  EXPECT_EQ(successor_of(*store)->lost(), 2U) << "there was a place again";
  const auto second = successor_of(*store);
  EXPECT_EQ(second->recover().size(), RequestStore::kPlaces);
  EXPECT_EQ(second->lost(), 0U);
}

TEST(RequestStore, ADaemonThatIsReplacedMayGoOn) {
  const auto old = RequestStore::create();
  char* const slot = old->open_slot(0);
  RequestStore::put(slot, request_of(1));
  const RequestStore::Kept waiting = old->keep(request_of(2));
  {
    const auto fresh = RequestStore::adopt_beside(copy_of(old->fd()));
    const std::vector<RequestStore::Recovered> found = fresh->recover();
    EXPECT_EQ(numbers(found), (Numbers{1, 2}));
    RequestStore::put(fresh->open_slot(0), request_of(3));
    EXPECT_EQ(header_of_bytes({slot, slot + sizeof(fuse_in_header)}).unique, 1U) << "the old daemon still answers it";
    EXPECT_EQ(numbers(successor_of(*old)->recover()), (Numbers{1, 2, 3})) << "if both are killed";
  }
}

TEST(RequestStore, ADaemonTakesBackWhatItsReplacementHasTaken) {
  const auto old = RequestStore::create();
  RequestStore::put(old->open_slot(0), request_of(1));
  const auto fresh = RequestStore::adopt_beside(copy_of(old->fd()));
  std::vector<RequestStore::Recovered> found = fresh->recover();
  RequestStore::put(fresh->open_slot(7), request_of(5));
  const RequestStore::Kept elsewhere = fresh->keep(request_of(4));
  found.clear();  // answered
  const std::vector<RequestStore::Recovered> back = old->take_back();
  EXPECT_EQ(numbers(back), (Numbers{4, 5}));
  EXPECT_TRUE(old->take_back().empty()) << "once";
  const auto again = RequestStore::adopt_beside(copy_of(old->fd()));
  EXPECT_EQ(numbers(again->recover()), (Numbers{1, 4, 5})) << "they stay kept";
}

TEST(RequestStore, OnlyOneOfTwoDaemonsForgets) {
  const auto old = RequestStore::create();
  RequestStore::put(old->open_slot(0), request_of(1, 8, FUSE_FORGET));
  const auto fresh = RequestStore::adopt_beside(copy_of(old->fd()));
  EXPECT_TRUE(fresh->recover().empty()) << "the old daemon may go on with it";
  RequestStore::put(fresh->open_slot(0), request_of(2, sizeof(fuse_batch_forget_in), FUSE_BATCH_FORGET));
  EXPECT_TRUE(old->take_back().empty());
  fresh->serve();
  EXPECT_TRUE(fresh->take_back().empty()) << "the old daemon had it";
}

/// The daemon may be stopped while it takes requests back, and yet another one may begin to take some.
TEST(RequestStore, WhatComesMeanwhileIsNotForgotten) {
  const auto old = RequestStore::create();
  const auto fresh = RequestStore::adopt_beside(copy_of(old->fd()));
  char* const slot = fresh->open_slot(64);
  ASSERT_NE(slot, nullptr);
  Numbers back;
  constexpr std::uint64_t kRounds = 2000;
  for (std::uint64_t round = 1; round <= kRounds; ++round) {
    RequestStore::put(slot, request_of(2 * round, 8));
    std::atomic<bool> begun = false;
    std::thread takes([&] {
      begun = true;
      for (int i = 0; i < 3; ++i) {
        std::ranges::copy(numbers(old->take_back()), std::back_inserter(back));
      }
    });
    while (!begun) {
    }
    RequestStore::put(slot, request_of(2 * round + 1, 16));
    takes.join();
    std::ranges::copy(numbers(old->take_back()), std::back_inserter(back));
    ASSERT_TRUE(std::ranges::find(back, 2 * round + 1) != back.end()) << "in round " << round;
  }
}

TEST(RequestStore, ReplacementsFollowEachOther) {
  auto daemon = RequestStore::create();
  for (std::uint64_t round = 1; round <= 3; ++round) {
    RequestStore::put(daemon->open_slot(0), request_of(round));
    auto next = RequestStore::adopt_beside(copy_of(daemon->fd()));
    const std::vector<RequestStore::Recovered> found = next->recover();
    EXPECT_EQ(numbers(found), Numbers{round}) << "and nothing of the rounds before";
    next->serve();
    EXPECT_EQ(numbers(next->take_back()), Numbers{round});  // the old daemon has ended
    daemon = std::move(next);
  }
}

TEST(RequestStore, TakesMemoryOnlyForWhatIsUsed) {
  const auto store = RequestStore::create();
  struct stat status{};
  const auto bytes = [&] {
    EXPECT_EQ(::fstat(store->fd(), &status), 0);
    return status.st_blocks * 512;
  };
  EXPECT_LE(bytes(), 4096);
  (void)store->open_slot(0);
  EXPECT_LE(bytes(), 2 * 4096);
  const RequestStore::Kept kept = store->keep(request_of(1));
  const auto before = bytes();
  EXPECT_LE(before, 2 * 4096 + 65536);
  (void)successor_of(*store)->recover();
  EXPECT_EQ(bytes(), before) << "looking takes none";
}

ErrorCode refusal_of_requests(UniqueFd file) {
  try {
    (void)RequestStore::adopt(std::move(file));
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "it was adopted";
  return ErrorCode::kInternal;
}

TEST(RequestStore, OtherFilesAreRefused) {
  const auto store = RequestStore::create();
  struct stat status{};
  ASSERT_EQ(::fstat(store->fd(), &status), 0);
  EXPECT_EQ(refusal_of_requests(copy_of(SharedState::create().fd())), ErrorCode::kUnsupported);
  UniqueFd file(::memfd_create("imitation", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(file.get(), status.st_size), 0);
  EXPECT_EQ(refusal_of_requests(copy_of(file.get())), ErrorCode::kCorrupt) << "it may shrink";
  ASSERT_EQ(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  EXPECT_EQ(refusal_of_requests(copy_of(file.get())), ErrorCode::kCorrupt) << "zeros";
  std::array<std::uint32_t, 4> header{};
  ASSERT_EQ(::pread(store->fd(), header.data(), sizeof(header), 0), static_cast<ssize_t>(sizeof(header)));
  ++header[2];  // the number of the layout
  ASSERT_EQ(::pwrite(file.get(), header.data(), sizeof(header), 0), static_cast<ssize_t>(sizeof(header)));
  EXPECT_EQ(refusal_of_requests(std::move(file)), ErrorCode::kUnsupported);
}

TEST(RequestStore, RequestsThatNoKernelSendsAreIgnored) {
  const auto store = RequestStore::create();
  const auto put = [&](std::size_t thread, std::vector<char> request, std::uint32_t length) {
    std::memcpy(request.data(), &length, sizeof(length));
    RequestStore::put(store->open_slot(thread), request);
  };
  put(0, request_of(1), 39);  // shorter than a header
  put(1, request_of(2, 8, FUSE_INIT), 48);
  std::vector<char> forgets = request_of(3, sizeof(fuse_batch_forget_in) + sizeof(fuse_forget_one), FUSE_BATCH_FORGET);
  fuse_batch_forget_in batch{.count = 2, .dummy = 0};
  std::memcpy(forgets.data() + sizeof(fuse_in_header), &batch, sizeof(batch));
  put(2, forgets, static_cast<std::uint32_t>(forgets.size()));
  batch.count = 1;
  std::memcpy(forgets.data() + sizeof(fuse_in_header), &batch, sizeof(batch));
  put(3, forgets, static_cast<std::uint32_t>(forgets.size()));
  put(4, request_of(4), UINT32_MAX);
  const auto successor = successor_of(*store);
  const std::vector<RequestStore::Recovered> found = successor->recover();
  EXPECT_EQ(numbers(found), (Numbers{3, 4}));
  EXPECT_TRUE(found.at(0).is_whole) << "the batch of one";
  EXPECT_FALSE(found.at(1).is_whole);
}

}  // namespace
}  // namespace pkgfs::fuse
