// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "core/lazy/sparse_file.h"

namespace pkgfs {

/// Finds readers that read blocks in order, and says what to fetch before they ask. Files of one directory lie side by
/// side in a container, so a reader of many small files counts, too. Not thread-safe but for `is_marked`.
class ReadAhead {
 public:
  static constexpr std::uint64_t kMost = SparseFile::blocks_in(4U << 20U);
  static constexpr std::uint64_t kFirst = SparseFile::blocks_in(64U << 10U);

  /// A reader misses the blocks `need`. Returns how many blocks behind them are worth fetching in the same request:
  /// none unless `need` goes on where an earlier reader came to. `tolerance`: so many blocks may lie between the two.
  [[nodiscard]] std::uint64_t missed(BlockRange need, std::uint64_t tolerance);
  /// A reader has come to a block for which `is_marked` is true. Returns what to fetch now; may be empty.
  [[nodiscard]] BlockRange reached(BlockRange read);
  /// Half of what `request` asks for has come. Returns what to ask for now, so that the connection doesn't become idle
  /// before the reader asks again; may be empty. A reader in order waits for the first of several requests, which share
  /// the rate. When that ends, all of them end, and the reader then needs no time for what the others brought.
  [[nodiscard]] BlockRange arriving(BlockRange request);
  /// Whether a reader of `read` should call `reached`. Takes no lock.
  [[nodiscard]] bool is_marked(BlockRange read) const noexcept {
    for (const std::atomic<std::uint64_t>& mark : marks_) {
      const std::uint64_t block = mark.load(std::memory_order_relaxed);
      if (block >= read.first && block < read.end()) {
        return true;
      }
    }
    return false;
  }

 private:
  static constexpr std::size_t kStreams = 8;
  /// The window of a stream that is known to go on.
  static constexpr std::uint64_t kSteady = SparseFile::blocks_in(1U << 20U);
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};

  struct Stream {
    std::uint64_t from = kNone;  // the block behind the last one that a reader missed or reached
    std::uint64_t next = kNone;  // the block behind the last one that is fetched
    std::uint64_t window = 0;    // blocks to fetch ahead; 0: the stream has just begun
    std::uint64_t used = 0;      // for replacing the one that was unused for longest
  };

  void mark(std::size_t stream, std::uint64_t block) { marks_.at(stream).store(block, std::memory_order_relaxed); }

  std::array<Stream, kStreams> streams_{};
  std::array<std::atomic<std::uint64_t>, kStreams> marks_{kNone, kNone, kNone, kNone, kNone, kNone, kNone, kNone};
  std::uint64_t uses_ = 0;
};

}  // namespace pkgfs
