// SPDX-License-Identifier: MIT
// How LazySource compares stored hashes.
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/base/read_faults.h"
#include "core/base/source_hash.h"
#include "core/lazy/lazy_source.h"

namespace pkgfs {

bool LazySource::is_checked_first(const ByteRun& run) const {
  if (run.sha256.empty() || run.length <= kCheckedFirst || !has_suspects_.load(std::memory_order_relaxed)) {
    return !run.sha256.empty() && run.length <= kCheckedFirst;
  }
  const MutexLock lock(mutex_);
  return suspects_.contains(run.offset);
}

bool LazySource::is_checked(const ByteRun& run) const {
  const MutexLock lock(mutex_);
  return run.length == 0 || (checked_at_ == file_->generation() && checked_.contains(run.offset));
}

int LazySource::check(const ByteRun& run) {
  const std::uint64_t generation = file_->generation();  // first: another process may forget blocks meanwhile
  if (!file_->has(run.offset, run.length) || is_checked(run)) {
    return 0;  // a long run of which a part isn't here yet
  }
  const auto digest = hash_of(*mapped_, run.offset, run.length);
  if (!digest) {
    return digest.error().error;
  }
  LazyCounters& counters = fetcher_->counters();
  counters.checked.fetch_add(1, std::memory_order_relaxed);
  if (std::memcmp(digest->data(), run.sha256.data(), digest->size()) == 0) {
    const MutexLock lock(mutex_);
    if (checked_at_ != generation) {
      checked_.clear();
      checked_at_ = generation;
    }
    checked_.insert(run.offset);
    return 0;
  }
  // Perhaps the server sends the right bytes the next time. The files beside it share blocks, so they are checked anew.
  file_->mark_missing(SparseFile::blocks_of(run.offset, run.length));
  {
    const MutexLock lock(mutex_);
    checked_.clear();
  }
  return wrong_hash(run);
}

int LazySource::wrong_hash(const ByteRun& run) {
  fetcher_->counters().mismatches.fetch_add(1, std::memory_order_relaxed);
  read_faults::count(read_faults::Cause::kChecksum);
  const MutexLock lock(mutex_);
  suspects_.insert(run.offset);
  has_suspects_ = true;
  Error error(ErrorCode::kCorrupt, options_.remote.url.text() + ": the bytes from " + std::to_string(run.offset) +
                                       ", as the server sent them, don't have the hash that the package states");
  log::warn("{}", error);
  health_.failed(std::move(error), Clock::now(), std::nullopt);
  return run.length > kCheckedFirst ? EBADMSG : EIO;
}

int LazySource::check_held(const ByteRun& run, const std::shared_ptr<const BlockMemory::Piece>& piece) {
  if (piece->is_checked(run.offset)) {
    return 0;
  }
  const auto bytes = piece->bytes().subspan(run.offset - piece->range().first * SparseFile::kBlock, run.length);
  fetcher_->counters().checked.fetch_add(1, std::memory_order_relaxed);
  const Sha256 digest = sha256(bytes);
  if (std::memcmp(digest.data(), run.sha256.data(), digest.size()) == 0) {
    piece->set_checked(run.offset);
    return 0;
  }
  fetcher_->memory().remove(piece);
  return wrong_hash(run);
}

}  // namespace pkgfs
