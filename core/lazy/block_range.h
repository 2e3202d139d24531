// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace pkgfs {

/// A range of blocks of a SparseFile.
struct BlockRange {
  std::uint64_t first = 0;
  std::uint64_t count = 0;

  [[nodiscard]] bool empty() const { return count == 0; }
  [[nodiscard]] std::uint64_t end() const { return first + count; }
  friend bool operator==(const BlockRange&, const BlockRange&) = default;
};

}  // namespace pkgfs
