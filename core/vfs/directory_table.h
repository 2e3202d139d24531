// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/vfs/overlay_node.h"

namespace pkgfs::vfs {

/// The merged directories of a tree by their numbers. `find` takes no lock and allocates nothing; any thread may call
/// it, also while another one calls `add`. Only one thread at a time may call `add`.
class DirectoryTable {
 public:
  DirectoryTable();
  ~DirectoryTable();
  DirectoryTable(const DirectoryTable&) = delete;
  DirectoryTable& operator=(const DirectoryTable&) = delete;

  /// The entries of the directory `number`; null if they weren't added. They stay the caller's.
  [[nodiscard]] const OverlayContent* find(std::uint64_t number) const {
    const Slots& slots = *slots_.load(std::memory_order_acquire);
    for (std::size_t at = slots.first(number);; at = (at + 1) & slots.mask) {
      const Slot& slot = slots.list[at];
      const std::uint64_t key = slot.number.load(std::memory_order_acquire);
      if (key == number) {
        return slot.content.load(std::memory_order_relaxed);
      }
      if (key == kEmpty) {
        return nullptr;
      }
    }
  }
  /// `number` must not have been added before.
  void add(std::uint64_t number, const OverlayContent* content);

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  struct Slot {
    std::atomic<std::uint64_t> number{kEmpty};
    std::atomic<const OverlayContent*> content{nullptr};
  };
  /// A power of two of slots, at most half of them used. A number is in the first free slot behind that of its hash.
  struct Slots {
    explicit Slots(unsigned bits);
    [[nodiscard]] std::size_t first(std::uint64_t number) const { return (number * 0x9e3779b97f4a7c15ULL) >> shift; }
    void put(std::uint64_t number, const OverlayContent* content);

    unsigned shift;
    std::size_t mask;
    std::unique_ptr<Slot[]> list;
  };

  std::atomic<const Slots*> slots_;
  // The last is in use. Readers may still look into those before it; together they are smaller than the last.
  std::vector<std::unique_ptr<Slots>> all_;
  std::size_t count_ = 0;
};

}  // namespace pkgfs::vfs
