// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/base/read_section.h"
#include "core/vfs/overlay_node.h"

namespace pkgfs::vfs {

/// The merged directories of a tree by their numbers, and the inodes of those that were merged and are evicted. `find`
/// and `evicted` take no lock and allocate nothing; any thread in a ReadSection may call them, also while another one
/// changes the table. Only one thread at a time may change it.
class DirectoryTable {
 public:
  /// While the table grows, other threads may still read its old array. The table gives that to `retired`, which must
  /// outlive it. If the table must grow and knows more than `most_evicted` evicted directories, it forgets some of
  /// them: half of `most_evicted` are left.
  DirectoryTable(RetiredMemory& retired, std::size_t most_evicted);
  ~DirectoryTable();
  DirectoryTable(const DirectoryTable&) = delete;
  DirectoryTable& operator=(const DirectoryTable&) = delete;

  /// The entries of the directory `number`; null if they weren't added or are evicted.
  [[nodiscard]] const OverlayContent* find(std::uint64_t number) const {
    const std::uint64_t value = value_of(number);
    return (value & kEvicted) == 0 ? reinterpret_cast<const OverlayContent*>(value) : nullptr;  // NOLINT
  }
  /// The inode of the evicted directory `number`; 0 if it isn't known.
  [[nodiscard]] Inode evicted(std::uint64_t number) const {
    const std::uint64_t value = value_of(number);
    return (value & kEvicted) != 0 ? value >> 1U : 0;
  }
  /// Adds the directory `number`, which must not be in the table, unless it is evicted. The caller keeps the ownership
  /// of `content`.
  void add(std::uint64_t number, const OverlayContent* content);
  /// Replaces the entries of `number`, which must be there, by the inode of the directory.
  void evict(std::uint64_t number, Inode inode);

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  static constexpr std::uint64_t kEvicted = 1;  // in a value: the rest is an inode, not an address
  struct Slot {
    std::atomic<std::uint64_t> number{kEmpty};
    std::atomic<std::uint64_t> value{0};
  };
  /// A hash table. The number of slots is a power of two, and at most half of them are used. A number is in the slot of
  /// its hash, or in the first slot after it that was free.
  struct Slots {
    explicit Slots(unsigned bits);
    [[nodiscard]] std::size_t first(std::uint64_t number) const { return (number * 0x9e3779b97f4a7c15ULL) >> shift; }
    /// The slot of `number`, or the free one where it belongs.
    [[nodiscard]] Slot& slot(std::uint64_t number);

    unsigned shift;
    std::size_t mask;
    std::unique_ptr<Slot[]> list;
  };

  [[nodiscard]] std::uint64_t value_of(std::uint64_t number) const {
    // Sequentially consistent, as ReadSection asks; on x86 that costs nothing.
    const Slots& slots = *slots_.load(std::memory_order_seq_cst);
    for (std::size_t at = slots.first(number);; at = (at + 1) & slots.mask) {
      const Slot& slot = slots.list[at];
      const std::uint64_t key = slot.number.load(std::memory_order_acquire);
      if (key == number) {
        return slot.value.load(std::memory_order_seq_cst);
      }
      if (key == kEmpty) {
        return 0;
      }
    }
  }
  void make_room();

  RetiredMemory& retired_;
  std::size_t most_evicted_;
  std::unique_ptr<Slots> current_;
  std::atomic<const Slots*> slots_;  // of `current_`
  std::size_t count_ = 0;            // of used slots
  std::size_t evicted_ = 0;          // of these
};

}  // namespace pkgfs::vfs
