// SPDX-License-Identifier: MIT
#include "fuse/live_handles.h"

#include <new>

namespace pkgfs::fuse {

LiveHandles::~LiveHandles() {
  for (std::atomic<Part*>& part : parts_) {
    const std::unique_ptr<Part> owned(part.load());
    for (std::size_t i = 0; owned != nullptr && i < owned->size(); ++i) {
      delete (*owned)[i].load();
    }
  }
}

void LiveHandles::use(LiveJournal& journal) {
  const MutexLock lock(mutex_);
  journal_ = &journal;
  for (std::uint32_t place = 0; place < LiveJournal::kHandles; ++place) {
    fresh_ = journal.has_handle(place) ? place + 1 : fresh_;
  }
  for (std::uint32_t place = fresh_; place > 0; --place) {
    if (!journal.has_handle(place - 1)) {
      free_.push_back(place - 1);
    }
  }
}

std::atomic<LiveHandle*>* LiveHandles::at(std::uint32_t place) const {
  Part* const part = parts_.at(place / kPartHandles).load(std::memory_order_acquire);
  return part == nullptr ? nullptr : &part->at(place % kPartHandles);
}

std::atomic<LiveHandle*>& LiveHandles::make(std::uint32_t place) {
  std::atomic<Part*>& part = parts_.at(place / kPartHandles);
  if (part.load(std::memory_order_relaxed) == nullptr) {
    part.store(new Part(), std::memory_order_release);
  }
  return *at(place);
}

std::uint64_t LiveHandles::add(std::unique_ptr<LiveHandle>& handle, std::uint64_t id) {
  if (journal_ == nullptr) {
    return reinterpret_cast<std::uint64_t>(handle.release());
  }
  const std::uint64_t serial = journal_->next_serial() << kPlaceBits;
  const MutexLock lock(mutex_);
  if (free_.capacity() <= fresh_) {
    free_.reserve(std::size_t{2} * fresh_ + 64);  // so that `take` needs no memory
  }
  const bool has_free = !free_.empty();
  std::uint32_t place = has_free ? free_.back() : fresh_;
  if (uses_places_ && place < LiveJournal::kHandles && journal_->put_handle(place, serial | place, id)) {
    std::atomic<LiveHandle*>& to = make(place);
    has_free ? free_.pop_back() : void(++fresh_);
    to.store(handle.release(), std::memory_order_release);
    return serial | place;
  }
  if (free_beyond_.empty()) {
    const std::uint64_t beyond = journal_->beyond_handles().load();
    if (beyond < LiveJournal::kHandles || beyond >> kPlaceBits != 0) {
      throw std::bad_alloc();
    }
    free_beyond_.reserve(beyond - LiveJournal::kHandles + 1);
    journal_->beyond_handles() = beyond + 1;
    free_beyond_.push_back(static_cast<std::uint32_t>(beyond));
  }
  place = free_beyond_.back();
  std::atomic<LiveHandle*>& to = make(place);
  free_beyond_.pop_back();
  to.store(handle.release(), std::memory_order_release);
  return serial | place;
}

LiveHandle* LiveHandles::find(std::uint64_t number) const {
  if (journal_ == nullptr) {
    return reinterpret_cast<LiveHandle*>(number);  // NOLINT(performance-no-int-to-ptr)
  }
  const std::atomic<LiveHandle*>* const place = at(place_of(number));
  return place == nullptr ? nullptr : place->load(std::memory_order_acquire);
}

bool LiveHandles::was_opened(std::uint64_t number, std::uint64_t id) const {
  const std::uint32_t place = place_of(number);
  return place < LiveJournal::kHandles && journal_->node_of_handle(place, number) == id;
}

LiveHandle* LiveHandles::add_again(std::uint64_t number, std::unique_ptr<LiveHandle>& handle) {
  const MutexLock lock(mutex_);
  std::atomic<LiveHandle*>& to = make(place_of(number));
  if (to.load() == nullptr) {
    to.store(handle.release(), std::memory_order_release);
  }
  return to.load();
}

std::unique_ptr<LiveHandle> LiveHandles::take(std::uint64_t number) {
  if (journal_ == nullptr) {
    return std::unique_ptr<LiveHandle>(find(number));
  }
  const std::uint32_t place = place_of(number);
  const MutexLock lock(mutex_);
  std::atomic<LiveHandle*>* const from = at(place);
  std::unique_ptr<LiveHandle> handle;
  if (place >= LiveJournal::kHandles) {
    handle.reset(from == nullptr ? nullptr : from->exchange(nullptr));
    if (handle != nullptr) {
      free_beyond_.push_back(place);
    }
  } else if (journal_->is_handle(place, number)) {  // else it was closed, but the reply was lost
    handle.reset(from == nullptr ? nullptr : from->exchange(nullptr));
    journal_->erase_handle(place);
    free_.push_back(place);
  }
  return handle;
}

}  // namespace pkgfs::fuse
