// SPDX-License-Identifier: MIT
// What LazySource does while the cache has no room: readers get their bytes from memory, and a job looks for room.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/lazy/lazy_source.h"

namespace pkgfs {
namespace {

constexpr std::uint64_t kBytes = SparseFile::kBlock;
/// The most blocks of a piece: a run that is checked before it is given may begin and end within a block.
constexpr std::uint64_t kMostOfPiece = LazySource::kCheckedFirst / kBytes + 1;
/// The most blocks that are read ahead into memory. The reader waits for them, too.
constexpr std::uint64_t kMostAhead = SparseFile::blocks_in(1U << 20U);
/// While all memory is in use, this is how often a thread looks whether some is free.
constexpr auto kMemoryInterval = std::chrono::milliseconds(50);
/// For there to be room again, so many blocks must find some.
constexpr std::uint64_t kLookedFor = SparseFile::blocks_in(1U << 20U);

/// Whether one of `all` contains `part`.
bool contains(const std::vector<BlockRange>& all, const BlockRange& part) {
  return std::ranges::any_of(all,
                             [&](const BlockRange& one) { return one.first <= part.first && part.end() <= one.end(); });
}

}  // namespace

bool LazySource::find_held(BlockRange blocks, bool as_one, Pieces& held) const {
  BlockMemory& memory = fetcher_->memory();
  if (memory.is_empty()) {
    return false;
  }
  if (as_one) {
    if (auto piece = memory.find(this, blocks)) {
      held.push_back(std::move(piece));
    }
    return !held.empty();
  }
  for (BlockRange rest = file_->missing(blocks); !rest.empty();
       rest = file_->missing({rest.first, blocks.end() - rest.first})) {
    auto piece = memory.find(this, {rest.first, 1});
    if (piece == nullptr) {
      held.clear();
      return false;
    }
    rest.first = std::min(piece->range().end(), blocks.end());
    held.push_back(std::move(piece));
  }
  return !held.empty();
}

bool LazySource::is_held(const ByteRun& run, std::uint64_t from, std::uint64_t count) const {
  Pieces held;
  return find_for_reader(run, from, count, held);
}

bool LazySource::find_for_reader(const ByteRun& run, std::uint64_t from, std::uint64_t count, Pieces& held) const {
  if (fetcher_->memory().is_empty() || state() != State::kLazy) {
    return false;
  }
  const BlockRange blocks = blocks_for(run, from, count);
  if (!is_checked_first(run)) {
    return find_held(blocks, false, held);
  }
  if (auto piece = fetcher_->memory().find(this, blocks, run.offset)) {
    held.push_back(std::move(piece));
  }
  return !held.empty();
}

std::optional<Result<void>> LazySource::read_held(const ByteRun& run, std::uint64_t from,
                                                  std::span<std::byte> out) const {
  Pieces held;
  if (!find_for_reader(run, from, out.size(), held)) {
    return std::nullopt;
  }
  auto piece = held.begin();
  for (std::uint64_t at = run.offset + from; !out.empty();) {
    const std::uint64_t block = at / kBytes;
    while (piece != held.end() && (*piece)->range().end() <= block) {
      ++piece;
    }
    const bool is_in_memory = piece != held.end() && (*piece)->range().first <= block;
    // To the end of the piece, or of the block.
    const std::uint64_t end = (is_in_memory ? (*piece)->range().end() : block + 1) * kBytes;
    const auto part = out.first(std::min<std::uint64_t>(out.size(), end - at));
    if (is_in_memory) {
      std::memcpy(part.data(), (*piece)->bytes().data() + (at - (*piece)->range().first * kBytes), part.size());
    } else if (const Result<void> done = mapped_->read(at, part); !done) {
      return done;
    }
    out = out.subspan(part.size());
    at += part.size();
  }
  return Result<void>();
}

BlockRange LazySource::to_hold(const Waiter& waiter) const {
  Pieces held;
  if (waiter.is_for_parser || file_->has(waiter.blocks) || find_held(waiter.blocks, waiter.is_whole, held)) {
    return {};
  }
  if (waiter.is_whole) {
    // A longer run has had wrong bytes. It can't be checked in memory, so its readers fail after their time.
    return contains(holding_, waiter.blocks) || waiter.blocks.count > kMostOfPiece ? BlockRange{} : waiter.blocks;
  }
  std::uint64_t first = waiter.blocks.first;
  while (first < waiter.blocks.end() && (file_->has(BlockRange{first, 1}) || contains(holding_, {first, 1}) ||
                                         fetcher_->memory().find(this, {first, 1}) != nullptr)) {
    ++first;
  }
  if (first == waiter.blocks.end()) {
    return {};
  }
  const std::uint64_t ahead = std::min(waiter.wanted.end(), waiter.blocks.end() + kMostAhead);
  return {first, std::min(ahead - first, kMostOfPiece)};
}

FetchClient::Job LazySource::holding_job(Clock::time_point now, Clock::time_point& again) {
  ahead_.clear();
  for (const Waiter& waiter : waiters_) {
    const BlockRange range = to_hold(waiter);
    if (range.empty()) {
      continue;
    }
    const std::uint64_t length = std::min(range.end() * kBytes, file_->size()) - range.first * kBytes;
    const auto piece = fetcher_->memory().reserve(range, length, now);
    if (piece == nullptr) {
      again = std::min<Clock::time_point>(again, now + kMemoryInterval);
      return {};  // readers take turns: a later one doesn't get the memory first
    }
    holding_.push_back(range);
    return [self = shared_from_this(), piece](HttpClient& client, const CancelFlag& cancel) {
      self->hold(piece, client, cancel);
    };
  }
  return {};
}

void LazySource::hold(const std::shared_ptr<BlockMemory::Piece>& piece, HttpClient& client,
                      const CancelFlag& cancel) noexcept {
  fetcher_->room().tell();
  const std::uint64_t begin = piece->range().first * kBytes;
  const std::span<std::byte> bytes = piece->writable();
  std::uint64_t have = 0;
  const auto take = [&](const RemoteVersion&, std::uint64_t at, std::span<const std::byte> part) {
    std::memcpy(bytes.data() + (at - begin), part.data(), part.size());
    have = at - begin + part.size();
  };
  // If the connection breaks, what came stays.
  for (bool goes_on = true; goes_on && have < bytes.size();) {
    const std::uint64_t before = have;
    ask(begin + have, bytes.size() - have, client, cancel, std::ref(take));
    goes_on = have > before;
    if (goes_on) {
      answered();
    }
  }
  if (have == bytes.size()) {
    try {
      fetcher_->memory().add(this, piece, Clock::now());
    } catch (const std::bad_alloc&) {
      log::debug("{}: no memory", options_.remote.name);  // then it is fetched once more
    }
  }
  {
    const MutexLock lock(mutex_);
    holding_.erase(std::ranges::find(holding_, piece->range()));
  }
  fetcher_->wake();
}

FetchClient::Job LazySource::look_job(Clock::time_point now, Clock::time_point& again) {
  if (!fetcher_->room().begin_look(now, again)) {
    return {};
  }
  const BlockRange missing = file_->missing({0, file_->blocks()});
  auto claim = file_->claim({missing.first, std::min(missing.count, kLookedFor)});
  if (!claim) {
    return {};
  }
  return [self = shared_from_this(), held = std::make_shared<std::optional<SparseFile::Claim>>(std::move(claim))](
             HttpClient& /*client*/, const CancelFlag& /*cancel*/) {
    self->look_for_room((*held)->range());
    held->reset();
    self->fetcher_->wake();
  };
}

/// Writes zeros to blocks that are missing: with most file systems, they have their room then.
void LazySource::look_for_room(BlockRange claimed) noexcept {
  const Clock::time_point begun = Clock::now();
  CacheRoom& room = fetcher_->room();
  room.tell();
  try {
    const std::vector<std::byte> zeros(kBytes);
    for (std::uint64_t block = claimed.first; block < claimed.end(); ++block) {
      const std::uint64_t at = block * kBytes;
      file_->write(at, std::span(zeros).first(std::min(kBytes, file_->size() - at)));
    }
    room.came_back();
  } catch (const std::exception&) {
    if (room.ran_out(current_error(), begun)) {
      room.came_back();
    }
  }
}

}  // namespace pkgfs
