// SPDX-License-Identifier: MIT
#include "core/vfs/directory_table.h"

#include <utility>

namespace pkgfs::vfs {

namespace {

constexpr unsigned kFirstBits = 5;

}  // namespace

DirectoryTable::Slots::Slots(unsigned bits)
    : shift(64 - bits), mask((std::size_t{1} << bits) - 1), list(std::make_unique<Slot[]>(mask + 1)) {}

DirectoryTable::Slot& DirectoryTable::Slots::slot(std::uint64_t number) {
  for (std::size_t at = first(number);; at = (at + 1) & mask) {
    const std::uint64_t key = list[at].number.load(std::memory_order_relaxed);
    if (key == number || key == kEmpty) {
      return list[at];
    }
  }
}

DirectoryTable::DirectoryTable(RetiredMemory& retired, std::size_t most_evicted)
    : retired_(retired), most_evicted_(most_evicted), current_(std::make_unique<Slots>(kFirstBits)) {
  slots_.store(current_.get(), std::memory_order_seq_cst);
}

DirectoryTable::~DirectoryTable() = default;

void DirectoryTable::make_room() {
  const std::size_t forgotten = evicted_ > most_evicted_ ? evicted_ - most_evicted_ / 2 : 0;
  const std::size_t kept = count_ - forgotten;
  unsigned bits = kFirstBits;
  while ((std::size_t{1} << bits) < 3 * (kept + 1)) {  // a third of the slots is used then
    ++bits;
  }
  auto next = std::make_unique<Slots>(bits);
  std::size_t to_forget = forgotten;
  for (std::size_t at = 0; at <= current_->mask; ++at) {
    const Slot& old = current_->list[at];
    const std::uint64_t number = old.number.load(std::memory_order_relaxed);
    const std::uint64_t value = old.value.load(std::memory_order_relaxed);
    if (number == kEmpty) {
      continue;
    }
    if (to_forget != 0 && (value & kEvicted) != 0) {
      --to_forget;
      continue;
    }
    Slot& slot = next->slot(number);
    slot.value.store(value, std::memory_order_relaxed);
    slot.number.store(number, std::memory_order_relaxed);
  }
  count_ = kept;
  evicted_ -= forgotten;
  slots_.store(next.get(), std::memory_order_seq_cst);
  retired_.add(std::exchange(current_, std::move(next)));
}

void DirectoryTable::add(std::uint64_t number, const OverlayContent* content) {
  if (2 * (count_ + 1) > current_->mask) {
    make_room();
  }
  Slot& slot = current_->slot(number);
  if (slot.number.load(std::memory_order_relaxed) == number) {
    --evicted_;
  } else {
    ++count_;
  }
  slot.value.store(reinterpret_cast<std::uint64_t>(content), std::memory_order_seq_cst);
  slot.number.store(number, std::memory_order_release);
}

void DirectoryTable::evict(std::uint64_t number, Inode inode) {
  current_->slot(number).value.store(inode << 1U | kEvicted, std::memory_order_seq_cst);
  ++evicted_;
}

}  // namespace pkgfs::vfs
