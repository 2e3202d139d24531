// SPDX-License-Identifier: MIT
#include "core/vfs/directory_table.h"

namespace pkgfs::vfs {

namespace {

constexpr unsigned kFirstBits = 5;

}  // namespace

DirectoryTable::Slots::Slots(unsigned bits)
    : shift(64 - bits), mask((std::size_t{1} << bits) - 1), list(std::make_unique<Slot[]>(mask + 1)) {}

void DirectoryTable::Slots::put(std::uint64_t number, const OverlayContent* content) {
  std::size_t at = first(number);
  while (list[at].number.load(std::memory_order_relaxed) != kEmpty) {
    at = (at + 1) & mask;
  }
  list[at].content.store(content, std::memory_order_relaxed);
  list[at].number.store(number, std::memory_order_release);
}

DirectoryTable::DirectoryTable() {
  all_.push_back(std::make_unique<Slots>(kFirstBits));
  slots_.store(all_.back().get(), std::memory_order_release);
}

DirectoryTable::~DirectoryTable() = default;

void DirectoryTable::add(std::uint64_t number, const OverlayContent* content) {
  if (2 * ++count_ > all_.back()->mask) {
    const Slots& old = *all_.back();
    auto bigger = std::make_unique<Slots>(64 - old.shift + 1);
    for (std::size_t at = 0; at <= old.mask; ++at) {
      if (const std::uint64_t key = old.list[at].number.load(std::memory_order_relaxed); key != kEmpty) {
        bigger->put(key, old.list[at].content.load(std::memory_order_relaxed));
      }
    }
    all_.push_back(std::move(bigger));
  }
  all_.back()->put(number, content);
  slots_.store(all_.back().get(), std::memory_order_release);
}

}  // namespace pkgfs::vfs
