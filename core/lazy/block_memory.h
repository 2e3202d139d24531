// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>

#include "core/base/thread_annotations.h"
#include "core/lazy/block_range.h"
#include "core/lazy/offset_set.h"

namespace pkgfs {

/// Blocks of lazy containers in memory, for as long as the cache can't take them: its disk is full. A process has one
/// for all its containers. It holds at most `kMost` bytes, with what is being fetched and what readers still copy; then
/// it drops pieces, the longest unused first. Thread-safe.
class BlockMemory {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::uint64_t kMost = 64U << 20U;  // bytes
  /// A piece stays for so long at least, so that readers of large files don't drop each other's pieces unread.
  static constexpr auto kLeast = std::chrono::seconds(1);

  /// Consecutive blocks of one container. While it is being fetched, one thread has it; `add` makes it immutable.
  class Piece {
   public:
    Piece(BlockRange range, std::uint64_t length, std::shared_ptr<std::atomic<std::uint64_t>> used);
    ~Piece();
    Piece(const Piece&) = delete;
    Piece& operator=(const Piece&) = delete;

    [[nodiscard]] const BlockRange& range() const { return range_; }
    /// All bytes of these blocks. The last block of a container may be shorter.
    [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
    [[nodiscard]] std::span<std::byte> writable() { return bytes_; }
    /// Whether the bytes of the run at this offset of the container have their stored hash.
    [[nodiscard]] bool is_checked(std::uint64_t offset) const PKGFS_EXCLUDES(mutex_);
    void set_checked(std::uint64_t offset) const PKGFS_EXCLUDES(mutex_);

   private:
    BlockRange range_;
    std::span<std::byte> bytes_;  // mapped, so that the kernel has them back at once
    std::shared_ptr<std::atomic<std::uint64_t>> used_;
    mutable Mutex mutex_;
    mutable OffsetSet checked_ PKGFS_GUARDED_BY(mutex_);
  };

  /// Which container a piece is of. Only compared.
  using Owner = const void*;

  /// Memory for blocks that are about to be fetched, `length` bytes in all. Null if there is no room at the moment,
  /// also if the system has no memory.
  [[nodiscard]] std::shared_ptr<Piece> reserve(BlockRange range, std::uint64_t length, Clock::time_point now)
      PKGFS_EXCLUDES(mutex_);
  /// Takes over a piece that is filled.
  void add(Owner owner, std::shared_ptr<const Piece> piece, Clock::time_point now) PKGFS_EXCLUDES(mutex_);
  /// A piece with all of these blocks and, with `checked`, one in which the run at this offset was checked. Null if
  /// there is none. While the caller holds it, it isn't dropped.
  [[nodiscard]] std::shared_ptr<const Piece> find(Owner owner, BlockRange range,
                                                  std::optional<std::uint64_t> checked = std::nullopt)
      PKGFS_EXCLUDES(mutex_);
  void remove(const std::shared_ptr<const Piece>& piece) PKGFS_EXCLUDES(mutex_);
  /// Removes all pieces of a container.
  void remove_all(Owner owner) PKGFS_EXCLUDES(mutex_);
  /// Removes all pieces that no caller holds.
  void remove_idle() PKGFS_EXCLUDES(mutex_);
  /// Whether there is no piece. Takes no lock.
  [[nodiscard]] bool is_empty() const noexcept { return count_.load(std::memory_order_acquire) == 0; }
  /// The bytes that count towards `kMost`.
  [[nodiscard]] std::uint64_t used() const noexcept { return used_->load(std::memory_order_relaxed); }

 private:
  struct Entry {
    Owner owner = nullptr;
    std::shared_ptr<const Piece> piece;
    Clock::time_point added;
  };
  void erase(std::list<Entry>::iterator entry) PKGFS_REQUIRES(mutex_);

  const std::shared_ptr<std::atomic<std::uint64_t>> used_ = std::make_shared<std::atomic<std::uint64_t>>(0);
  Mutex mutex_;
  std::list<Entry> entries_ PKGFS_GUARDED_BY(mutex_);  // the last used one first
  std::atomic<std::size_t> count_{0};                  // of `entries_`
};

}  // namespace pkgfs
