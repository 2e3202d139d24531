// SPDX-License-Identifier: MIT
// The work of LazySource in the threads of its BlockFetcher: fetching, saving what came, and becoming whole.
#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/log.h"
#include "core/base/read_faults.h"
#include "core/lazy/complete_hash.h"
#include "core/lazy/lazy_source.h"
#include "core/net/http_client.h"
#include "core/net/range_request.h"

namespace pkgfs {
namespace {

constexpr std::uint64_t kBlock = SparseFile::kBlock;
/// The most blocks of one request.
constexpr std::uint64_t kMostBlocks = SparseFile::blocks_in(4U << 20U);
/// How long a complete file waits, if another process fills its entry of the cache.
constexpr auto kBusyPause = std::chrono::seconds(5);
/// After a reader missed bytes, NearFetch waits for this time. Else its request could take the connection that is
/// there, and that of the reader would wait a round trip for another one.
constexpr auto kConnectionFirst = std::chrono::milliseconds(5);
/// The most blocks that NearFetch asks for at a time.
constexpr std::uint64_t kMostNear = SparseFile::blocks_in(512U << 10U);
/// With more waiting readers than this, requests for small files can't use all of the connection.
constexpr std::size_t kManyWaiters = 16;
/// Then a request has so many blocks if some of those around it are here already, because readers need this area.
constexpr std::uint64_t kDense = SparseFile::blocks_in(256U << 10U);
/// While another process fetches blocks that a reader needs, this is how often a thread looks whether they came.
constexpr auto kOthersInterval = std::chrono::milliseconds(20);
/// For this time after a reader missed bytes, the background fetches only what NearFetch wants.
constexpr auto kReadersFirst = std::chrono::milliseconds(300);
/// What came is synced after this time, or after so many bytes.
constexpr auto kSaveInterval = std::chrono::seconds(5);
constexpr std::uint64_t kSaveBytes = 64U << 20U;
/// While nothing is fetched in the background, this is how often a thread looks whether another process has completed
/// the file.
constexpr auto kCompleteInterval = std::chrono::seconds(5);

}  // namespace

FetchClient::Job LazySource::next_job(Priority priority, Clock::time_point now, Clock::time_point& again) {
  if (state() != State::kLazy || unused_.is_cancelled()) {
    return {};
  }
  const MutexLock lock(mutex_);
  switch (priority) {
    case Priority::kForeground:
      return foreground_job(now, again);
    case Priority::kExpected:
      return expected_job(now, again);
    case Priority::kBackground:
      break;
  }
  return background_job(now, again);
}

FetchClient::Job LazySource::foreground_job(Clock::time_point now, Clock::time_point& again) {
  if (waiters_.empty() && ahead_.empty()) {
    return {};
  }
  if (now < health_.next()) {
    again = std::min(again, health_.next());
    return {};
  }
  if (fetcher_->room().is_out()) {
    return holding_job(now, again);
  }
  for (const Waiter& waiter : waiters_) {
    // First what the reader waits for, and in the same request what lies behind it.
    for (BlockRange rest = waiter.wanted; !rest.empty();) {
      const BlockRange missing = file_->missing(rest);
      if (missing.empty() || missing.first >= waiter.blocks.end()) {
        break;
      }
      if (auto claim = file_->claim(with_neighbours({missing.first, std::min(missing.count, kMostBlocks)}))) {
        return job_for(std::move(*claim), Priority::kForeground);
      }
      again = std::min(again, now + kOthersInterval);
      rest = {missing.end(), rest.end() - missing.end()};
    }
  }
  auto claim = claim_first(ahead_);
  return claim ? job_for(std::move(*claim), Priority::kForeground) : Job();
}

std::optional<SparseFile::Claim> LazySource::claim_first(std::deque<BlockRange>& ranges) {
  while (!ranges.empty()) {
    const BlockRange next = ranges.front();
    ranges.pop_front();
    auto claim = file_->claim({next.first, std::min(next.count, kMostBlocks)});
    if (const std::uint64_t tried = claim ? claim->range().end() : next.first + kMostBlocks; tried < next.end()) {
      ranges.push_front({tried, next.end() - tried});
    }
    if (claim) {
      return claim;
    }
  }
  return std::nullopt;
}

BlockRange LazySource::part_around(BlockRange needed) const {
  std::uint64_t first = needed.first;
  for (const std::uint64_t begin = first / kPart * kPart; first > begin && !file_->has(BlockRange{first - 1, 1});) {
    --first;
  }
  const std::uint64_t end = std::min((needed.end() + kPart - 1) / kPart * kPart, file_->blocks());
  return {first, end - first};
}

BlockRange LazySource::with_neighbours(BlockRange needed) const {
  if (waiters_.size() <= kManyWaiters) {
    return needed;
  }
  needed = part_around(needed);
  const std::uint64_t first = needed.first - std::min(needed.first, kDense);
  const BlockRange around{first, std::min(needed.end() + kDense, file_->blocks()) - first};
  const bool is_dense = file_->missing(around) != around;
  return {needed.first, is_dense
                            ? std::clamp(file_->blocks() - needed.first, needed.count, std::max(needed.count, kDense))
                            : needed.count};
}

FetchClient::Job LazySource::background_job(Clock::time_point now, Clock::time_point& again) {
  const auto self = shared_from_this();
  if (unsaved_ > 0 && !is_saving_) {
    if (unsaved_ >= kSaveBytes || now >= last_save_ + kSaveInterval) {
      is_saving_ = true;
      return [self](HttpClient& /*client*/, const CancelFlag& /*cancel*/) { self->save(); };
    }
    again = std::min(again, last_save_ + kSaveInterval);
  }
  if (const auto due = recorder_.due(); due && options_.keep_profile && !is_saving_profile_) {
    if (now >= *due) {
      is_saving_profile_ = true;
      return [self](HttpClient& /*client*/, const CancelFlag& /*cancel*/) { self->save_profile(); };
    }
    again = std::min(again, *due);
  }
  if (is_finishing_) {
    return {};
  }
  // Of a large file, one look at the place where the background goes on usually suffices.
  if (file_->has(BlockRange{cursor_, 1}) && file_->is_complete()) {
    // A reader may be about to find wrong bytes, and then they are fetched anew.
    if (!waiters_.empty() || now < last_wait_ + kReadersFirst) {
      again = std::min(again, now + kReadersFirst);
      return {};
    }
    if (now < finish_after_) {
      again = std::min(again, finish_after_);
      return {};
    }
    is_finishing_ = true;
    return [self](HttpClient& /*client*/, const CancelFlag& cancel) { self->finish(cancel); };
  }
  if (fetcher_->room().is_out()) {
    return look_job(now, again);
  }
  if (options_.background_rate == 0) {
    again = std::min<Clock::time_point>(again, now + kCompleteInterval);
    return {};
  }
  const Clock::time_point healthy = options_.is_urgent ? health_.next() : health_.next_in_background();
  const Clock::time_point expected = (expected_.empty() ? last_expected_ : now) + kReadersFirst;
  if (const Clock::time_point begin = std::max({healthy, rate_free_, expected}); now < begin) {
    again = std::min(again, begin);
    return {};
  }
  if (now < last_wait_ + kReadersFirst) {
    return near_job(now, again);
  }
  BlockRange missing = file_->missing({cursor_, file_->blocks() - cursor_});
  if (missing.empty() && cursor_ > 0) {
    cursor_ = 0;
    missing = file_->missing({0, file_->blocks()});
  }
  const std::uint64_t most = options_.is_urgent ? kMostBlocks : size_.blocks();
  auto claim = missing.empty() ? std::nullopt : file_->claim({missing.first, std::min(missing.count, most)});
  if (!claim) {
    again = std::min<Clock::time_point>(again, now + std::chrono::seconds(1));  // others fetch the rest
    cursor_ = missing.end() < file_->blocks() ? missing.end() : 0;
    return {};
  }
  cursor_ = claim->range().end() < file_->blocks() ? claim->range().end() : 0;
  spend(claim->range().count, now);
  return job_for(std::move(*claim), Priority::kBackground);
}

FetchClient::Job LazySource::near_job(Clock::time_point now, Clock::time_point& again) {
  if (now < last_wait_ + kConnectionFirst) {
    again = std::min(again, last_wait_ + kConnectionFirst);
    return {};
  }
  again = std::min(again, last_wait_ + kReadersFirst);
  if (near_.is_running) {
    return {};
  }
  const std::uint64_t most = std::min(size_.blocks(), kMostNear);
  for (const BlockRange& area : near_.areas(file_->blocks(), most)) {
    const BlockRange missing = file_->missing(area);
    auto claim = missing.empty() ? std::nullopt : file_->claim({missing.first, std::min(missing.count, most)});
    if (!claim) {
      continue;
    }
    near_.is_running = true;
    spend(claim->range().count, now);
    return [self = shared_from_this(), job = job_for(std::move(*claim), Priority::kBackground)](
               HttpClient& client, const CancelFlag& cancel) {
      job(client, cancel);
      const MutexLock lock(self->mutex_);
      self->near_.is_running = false;
    };
  }
  return {};
}

void LazySource::spend(std::uint64_t blocks, Clock::time_point now) {
  if (options_.background_rate) {
    const double seconds = static_cast<double>(blocks * kBlock) / static_cast<double>(*options_.background_rate);
    rate_free_ = now + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }
}

FetchClient::Job LazySource::job_for(SparseFile::Claim claim, Priority priority) {
  // std::function wants to copy what it holds.
  return [self = shared_from_this(), held = std::make_shared<std::optional<SparseFile::Claim>>(std::move(claim)),
          priority](HttpClient& client, const CancelFlag& cancel) {
    const Fetched came = self->fetch((*held)->range(), client, cancel);
    held->reset();  // before other threads look for work
    self->fetched(came, priority);
  };
}

void LazySource::fetched(const Fetched& came, Priority priority) {
  if (came.blocks > 0) {
    {
      const MutexLock lock(mutex_);
      last_save_ = unsaved_ == 0 ? Clock::now() : last_save_;
      unsaved_ += came.blocks * kBlock;
      if (priority == Priority::kBackground) {
        const bool with_readers = Clock::now() < last_wait_ + kReadersStay;
        size_.took(came.blocks, came.took, with_readers ? RequestSize::kWithReaders : RequestSize::kWithoutReaders);
      }
    }
    answered();  // also if the connection broke later: what came is progress
  }
  fetcher_->wake();
}

void LazySource::save_blocks() noexcept {
  {
    const MutexLock lock(mutex_);
    if (unsaved_ == 0) {
      return;
    }
  }
  save();
}

void LazySource::save() noexcept {
  try {
    file_->sync();
  } catch (const std::exception&) {
    log::debug("{}: {}", options_.remote.name, current_error());  // then the blocks are fetched again after a power cut
  }
  const MutexLock lock(mutex_);
  unsaved_ = 0;
  is_saving_ = false;
}

void LazySource::finish(const CancelFlag& cancel) noexcept {
  const CancelFlag either(&cancel, &unused_);
  bool is_later = false;
  std::optional<Error> error;
  try {
    is_later = !become_whole(either);
  } catch (const std::exception&) {
    error = current_error();
    is_later = error->code() == ErrorCode::kInterrupted || error->code() == ErrorCode::kBusy;
    if (is_later) {
      log::debug("{}: {}", options_.remote.name, *error);
    } else {
      // It stays lazy, although nothing is missing: the next mount tries again to keep it.
      log::warn("{} is complete, but can't be moved into the cache: {}", options_.remote.name, *error);
    }
  }
  {
    const MutexLock lock(mutex_);
    is_finishing_ = !is_later;
    if (is_later && error && error->code() == ErrorCode::kBusy) {
      finish_after_ = Clock::now() + kBusyPause;  // another process fills its entry of the cache
    } else if (!is_later && error) {
      unkept_ = "the complete file can't be moved into the cache: " + error->message();
    }
  }
  fetcher_->wake();
}

bool LazySource::become_whole(const CancelFlag& cancel) {
  const CancelScope scope(cancel);
  std::uint64_t generation = file_->generation();
  if (options_.hash) {
    const auto actual = hash_complete(*file_, *mapped_);
    if (!actual) {
      return false;
    }
    if (actual->hash != *options_.hash) {
      become_tampered(actual->hash);
      return true;
    }
    generation = actual->generation;
  }
  file_->sync();
  if (!file_->keep_complete(generation, [&] { options_.keep(*file_); })) {
    return false;
  }
  save_profile();
  whole_ = MappedFile::adopt(file_->duplicate(), mapped_->name());
  std::function<void()> then;
  {
    const MutexLock lock(mutex_);
    state_.store(State::kWhole, std::memory_order_release);
    then.swap(when_whole_);
    checked_.clear();
  }
  log::info("{} is complete", options_.remote.name);
  if (then) {
    then();
  }
  return true;
}

void LazySource::become_tampered(const Sha256& actual) {
  log::warn("{}: the file that the server sent has the hash {} instead of {}; its files can't be read any more ({})",
            options_.remote.name, to_hex(actual), to_hex(*options_.hash), request_for(0, 1).url.text());
  read_faults::count(read_faults::Cause::kChecksum);
  state_.store(State::kTampered, std::memory_order_release);
  file_->remove();
}

}  // namespace pkgfs
