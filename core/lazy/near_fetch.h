// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>

#include "core/lazy/block_range.h"

namespace pkgfs {

/// Decides what the background fetches while readers miss blocks: blocks near the last miss. Files of one directory lie
/// side by side in a container, so a program that has read one of them often reads others soon. Such a program waits
/// for one round trip after another, and the connection to the server is idle meanwhile.
///
/// There is one such request at a time, and it is short: a reader's own request waits behind it. Not thread-safe.
class NearFetch {
 public:
  using Duration = std::chrono::steady_clock::duration;

  static constexpr std::uint64_t kMostBlocks = 8;  // 512 KiB: 20 ms of a connection with 200 Mbit/s
  /// Requests get longer as long as they take less than kShort, and shorter if they take more than kLong.
  static constexpr auto kShort = std::chrono::milliseconds(80);
  static constexpr auto kLong = std::chrono::milliseconds(160);

  /// A reader misses the blocks `need`.
  void missed(BlockRange need) { last_ = need; }
  [[nodiscard]] bool is_running() const { return is_running_; }
  /// The most blocks of the next request.
  [[nodiscard]] std::uint64_t most() const { return most_; }
  /// Where to look for missing blocks, in this order: behind the last miss, and before it.
  [[nodiscard]] std::array<BlockRange, 2> areas(std::uint64_t blocks) const {
    const std::uint64_t end = std::min(last_.end(), blocks);
    const std::uint64_t before = std::min(last_.first, most_);
    return {{{end, std::min(2 * most_, blocks - end)}, {last_.first - before, before}}};
  }
  void began() { is_running_ = true; }
  /// The request has ended after `took`.
  void ended(Duration took) {
    is_running_ = false;
    if (took < kShort) {
      most_ = std::min(2 * most_, kMostBlocks);
    } else if (took > kLong) {
      most_ = std::max<std::uint64_t>(most_ / 2, 1);
    }
  }

 private:
  BlockRange last_;
  std::uint64_t most_ = 2;
  bool is_running_ = false;
};

}  // namespace pkgfs
