// SPDX-License-Identifier: MIT
#include "core/vfs/directory_cache.h"

#include <utility>

namespace pkgfs::vfs {

namespace {

/// One evicted directory takes up to 64 bytes of the table: an eighth of the budget at most.
std::size_t most_evicted(std::size_t budget) { return budget / 512; }

}  // namespace

DirectoryCache::DirectoryCache(std::size_t budget) : budget_(budget), table_(retired_, most_evicted(budget)) {}

const OverlayContent* DirectoryCache::add(std::unique_ptr<OverlayContent> content) {
  const OverlayContent* const added = content.get();
  const MutexLock lock(mutex_);
  all_.push_back(std::move(content));
  table_.add(added->number, added);
  bytes_ += added->bytes;
  if (bytes_ > budget_) {
    added->used.store(true, std::memory_order_relaxed);  // the last one to be evicted
    sweep();
  }
  return added;
}

void DirectoryCache::pin(const OverlayContent& content) {
  const MutexLock lock(mutex_);
  table_.add(content.number, &content);
}

void DirectoryCache::sweep() {
  const std::size_t target = budget_ - budget_ / 8;  // so that not every `add` sweeps
  // Two rounds: the first one may find that all were used.
  for (std::size_t steps = 2 * all_.size(); steps > 0 && bytes_ > target && all_.size() > 1; --steps) {
    hand_ = hand_ < all_.size() ? hand_ : 0;
    std::unique_ptr<OverlayContent>& here = all_[hand_];
    if (here->used.exchange(false, std::memory_order_relaxed)) {
      ++hand_;
      continue;
    }
    table_.evict(here->number, here->directory);
    bytes_ -= here->bytes;
    retired_.add(std::exchange(here, std::move(all_.back())));
    all_.pop_back();
    ++hand_;  // what has come here is the newest
  }
  retired_.free_unread();
}

std::size_t DirectoryCache::bytes() const {
  const MutexLock lock(mutex_);
  return bytes_;
}

}  // namespace pkgfs::vfs
