// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <vector>

#include "core/webc/tree.h"

namespace pkgfs::webc {

/// Ranges of a header that belong to one owner each. Tables that overlap could make reading a small header endless
/// work, so a second claim on any byte is refused. Not thread-safe.
class Claims {
 public:
  /// Adds `range`, which isn't empty; false, and nothing is added, if it overlaps an earlier one.
  bool add(const ByteRange& range) {
    const auto after = ranges_.lower_bound(range.begin);
    if ((after != ranges_.end() && after->first < range.end) ||
        (after != ranges_.begin() && std::prev(after)->second > range.begin)) {
      return false;
    }
    ranges_.emplace_hint(after, range.begin, range.end);
    return true;
  }

  /// The first part of [0, end) that no range has; empty if there is none.
  [[nodiscard]] ByteRange first_gap(std::uint64_t end) const {
    std::uint64_t begin = 0;
    for (const auto& [start, stop] : ranges_) {
      if (start > begin) {
        return {.begin = begin, .end = start};
      }
      begin = stop;
    }
    return {.begin = begin, .end = end};
  }

  /// In ascending order.
  void append_to(std::vector<ByteRange>& list) const {
    for (const auto& [begin, end] : ranges_) {
      list.push_back({.begin = begin, .end = end});
    }
  }

 private:
  std::map<std::uint64_t, std::uint64_t> ranges_;  // begin -> end
};

}  // namespace pkgfs::webc
