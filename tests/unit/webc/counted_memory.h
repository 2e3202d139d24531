// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

namespace pkgfs::test {

/// Counts the memory of this thread: what is allocated with `new` while it lives, and the highest sum of it.
class CountedMemory {
 public:
  CountedMemory();

  [[nodiscard]] std::size_t peak() const;         // bytes, those of the allocator included
  [[nodiscard]] std::size_t allocations() const;  // calls of `new`
};

}  // namespace pkgfs::test
