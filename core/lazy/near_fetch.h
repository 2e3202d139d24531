// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/lazy/block_range.h"

namespace pkgfs {

/// Decides what the background fetches while readers miss blocks: blocks near the last miss. Files of one directory lie
/// side by side in a container, so a program that has read one of them often reads others soon. Such a program waits
/// for one round trip after another, and the connection to the server is idle meanwhile. Not thread-safe.
class NearFetch {
 public:
  /// A reader misses the blocks `need`.
  void missed(BlockRange need) { last_ = need; }
  /// Forgets the last miss.
  void reset() { last_ = {}; }
  /// Where to look for missing blocks, in this order: behind the last miss, and before it. None without a miss.
  /// `blocks`: of the file. `reach`: how many blocks before the miss count as near; behind it, twice as many do.
  [[nodiscard]] std::array<BlockRange, 2> areas(std::uint64_t blocks, std::uint64_t reach) const {
    if (last_.empty()) {
      return {};
    }
    const std::uint64_t end = std::min(last_.end(), blocks);
    const std::uint64_t before = std::min(last_.first, reach);
    return {{{end, std::min(2 * reach, blocks - end)}, {last_.first - before, before}}};
  }

  /// There is one such request at a time.
  bool is_running = false;

 private:
  BlockRange last_;
};

}  // namespace pkgfs
