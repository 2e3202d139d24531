// SPDX-License-Identifier: MIT
#include "core/vfs/directory_cache.h"

#include <utility>

namespace pkgfs::vfs {

namespace {

/// An evicted directory takes up to 96 bytes of the table: with this number, a fifth of the budget at most.
std::size_t most_evicted(std::size_t budget) { return budget / 512; }

}  // namespace

DirectoryCache::DirectoryCache(std::size_t budget) : budget_(budget), table_(retired_, most_evicted(budget)) {}

const OverlayContent* DirectoryCache::add(std::unique_ptr<OverlayContent> content) {
  const OverlayContent* const added = content.get();
  const MutexLock lock(mutex_);
  if (all_.size() == all_.capacity()) {  // whatever needs memory comes before the first change
    all_.reserve(2 * all_.size() + 1);
  }
  table_.add(added->number, added);
  all_.push_back(std::move(content));
  bytes_ += added->bytes;
  if (bytes_ > budget_) {
    sweep(*added);
  }
  return added;
}

void DirectoryCache::pin(const OverlayContent& content) {
  const MutexLock lock(mutex_);
  table_.add(content.number, &content);
}

void DirectoryCache::sweep(const OverlayContent& added) {
  const std::size_t target = budget_ - budget_ / 8;  // so that not every `add` sweeps
  // Two rounds: the first one may find that all were used.
  for (std::size_t steps = 2 * all_.size(); steps > 0 && bytes_ > target && all_.size() > 1; --steps) {
    hand_ = hand_ < all_.size() ? hand_ : 0;
    std::unique_ptr<OverlayContent>& here = all_[hand_];
    if (here->used.exchange(false, std::memory_order_relaxed) || here.get() == &added) {
      ++hand_;
      continue;
    }
    std::unique_ptr<OverlayContent> evicted = std::exchange(here, std::move(all_.back()));
    all_.pop_back();
    ++hand_;  // the directory that moved here was added late
    bytes_ -= evicted->bytes;
    table_.evict(evicted->number, evicted->directory);
    retired_.add(std::move(evicted));
  }
  retired_.free_unread();
}

std::size_t DirectoryCache::bytes() const {
  const MutexLock lock(mutex_);
  return bytes_;
}

}  // namespace pkgfs::vfs
