// SPDX-License-Identifier: MIT
#include "core/lazy/block_memory.h"

#include <sys/mman.h>

#include <iterator>
#include <new>
#include <utility>

namespace pkgfs {

BlockMemory::Piece::Piece(BlockRange range, std::uint64_t length, std::shared_ptr<std::atomic<std::uint64_t>> used)
    : range_(range), used_(std::move(used)) {
  void* const memory = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    throw std::bad_alloc();
  }
  bytes_ = {static_cast<std::byte*>(memory), length};
  used_->fetch_add(length, std::memory_order_relaxed);
}

BlockMemory::Piece::~Piece() {
  ::munmap(bytes_.data(), bytes_.size());
  used_->fetch_sub(bytes_.size(), std::memory_order_relaxed);
}

bool BlockMemory::Piece::is_checked(std::uint64_t offset) const {
  const MutexLock lock(mutex_);
  return checked_.contains(offset);
}

void BlockMemory::Piece::set_checked(std::uint64_t offset) const {
  const MutexLock lock(mutex_);
  checked_.insert(offset);
}

std::shared_ptr<BlockMemory::Piece> BlockMemory::reserve(BlockRange range, std::uint64_t length,
                                                         Clock::time_point now) {
  const MutexLock lock(mutex_);
  for (auto at = entries_.end(); used() + length > kMost && at != entries_.begin();) {
    --at;
    if (at->piece.use_count() == 1 && now >= at->added + kLeast) {
      erase(at++);
    }
  }
  if (length > kMost || used() + length > kMost) {
    return nullptr;
  }
  try {
    return std::make_shared<Piece>(range, length, used_);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void BlockMemory::add(Owner owner, std::shared_ptr<const Piece> piece, Clock::time_point now) {
  const MutexLock lock(mutex_);
  entries_.push_front({owner, std::move(piece), now});
  count_.store(entries_.size(), std::memory_order_release);
}

std::shared_ptr<const BlockMemory::Piece> BlockMemory::find(Owner owner, BlockRange range,
                                                            std::optional<std::uint64_t> checked) {
  if (is_empty()) {
    return nullptr;
  }
  const MutexLock lock(mutex_);
  for (auto at = entries_.begin(); at != entries_.end(); ++at) {
    const BlockRange& has = at->piece->range();
    if (at->owner == owner && has.first <= range.first && range.end() <= has.end() &&
        (!checked || at->piece->is_checked(*checked))) {
      entries_.splice(entries_.begin(), entries_, at);
      return at->piece;
    }
  }
  return nullptr;
}

void BlockMemory::remove(const std::shared_ptr<const Piece>& piece) {
  const MutexLock lock(mutex_);
  for (auto at = entries_.begin(); at != entries_.end(); ++at) {
    if (at->piece == piece) {
      erase(at);
      return;
    }
  }
}

void BlockMemory::remove_all(Owner owner) {
  const MutexLock lock(mutex_);
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto next = std::next(at);
    if (at->owner == owner) {
      erase(at);
    }
    at = next;
  }
}

void BlockMemory::remove_idle() {
  const MutexLock lock(mutex_);
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto next = std::next(at);
    if (at->piece.use_count() == 1) {
      erase(at);
    }
    at = next;
  }
}

void BlockMemory::erase(std::list<Entry>::iterator entry) {
  entries_.erase(entry);
  count_.store(entries_.size(), std::memory_order_release);
}

}  // namespace pkgfs
