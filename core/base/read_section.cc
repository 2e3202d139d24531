// SPDX-License-Identifier: MIT
#include "core/base/read_section.h"

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

namespace pkgfs {

namespace detail {

std::atomic<std::uint64_t> reader_epoch{1};
constinit thread_local ReaderSlot* reader_slot = nullptr;

namespace {

// Slots are never freed: a writer may look at them at any time. A new thread takes one that an ended thread had.
std::atomic<ReaderSlot*> all_slots{nullptr};

/// Gives the slot of a thread back when the thread ends.
struct SlotOwner {
  ~SlotOwner() {
    if (ReaderSlot* const slot = std::exchange(reader_slot, nullptr); slot != nullptr) {
      slot->taken.store(false, std::memory_order_release);
    }
  }
};

}  // namespace

ReaderSlot& take_reader_slot() {
  thread_local const SlotOwner owner;
  for (ReaderSlot* slot = all_slots.load(std::memory_order_acquire); slot != nullptr; slot = slot->next) {
    bool taken = false;
    if (slot->taken.compare_exchange_strong(taken, true, std::memory_order_acq_rel)) {
      return *(reader_slot = slot);
    }
  }
  auto* const slot = new ReaderSlot;
  slot->next = all_slots.load(std::memory_order_relaxed);
  while (!all_slots.compare_exchange_weak(slot->next, slot, std::memory_order_seq_cst)) {
  }
  return *(reader_slot = slot);
}

}  // namespace detail

void RetiredMemory::add(Item item) noexcept {
  item.epoch = detail::reader_epoch.fetch_add(1, std::memory_order_seq_cst) + 1;
  try {
    items_.push_back(item);
  } catch (const std::bad_alloc&) {
    ++lost_;
  }
}

void RetiredMemory::free_unread() {
  std::uint64_t oldest = std::numeric_limits<std::uint64_t>::max();
  for (const detail::ReaderSlot* slot = detail::all_slots.load(std::memory_order_seq_cst); slot != nullptr;
       slot = slot->next) {
    if (const std::uint64_t epoch = slot->epoch.load(std::memory_order_seq_cst); epoch != 0) {
      oldest = std::min(oldest, epoch);
    }
  }
  const auto used = std::ranges::find_if(items_, [&](const Item& item) { return item.epoch > oldest; });
  std::for_each(items_.begin(), used, [](const Item& item) { item.free(item.memory); });
  items_.erase(items_.begin(), used);
}

RetiredMemory::~RetiredMemory() {
  std::ranges::for_each(items_, [](const Item& item) { item.free(item.memory); });
}

}  // namespace pkgfs
