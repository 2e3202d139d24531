// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pkgfs {

/// A set of offsets in 16 bytes or less for each. When it has `kMost`, the next one empties it first: it is for what
/// can be found out again. Not thread-safe.
class OffsetSet {
 public:
  static constexpr std::size_t kMost = std::size_t{1} << 20U;

  [[nodiscard]] bool contains(std::uint64_t offset) const {
    return !slots_.empty() && slots_[place_of(offset)] == offset + 1;
  }
  void insert(std::uint64_t offset) {
    if (count_ == kMost) {
      clear();
    }
    if ((count_ + 1) * 2 > slots_.size()) {
      grow();
    }
    std::uint64_t& slot = slots_[place_of(offset)];
    count_ += slot == 0 ? 1 : 0;
    slot = offset + 1;
  }
  void clear() {
    slots_ = {};
    count_ = 0;
  }

 private:
  /// The slot of `offset`, or the free one where it belongs.
  [[nodiscard]] std::size_t place_of(std::uint64_t offset) const {
    std::size_t at = (offset * 0x9e3779b97f4a7c15ULL >> 20U) & (slots_.size() - 1);
    while (slots_[at] != 0 && slots_[at] != offset + 1) {
      at = (at + 1) & (slots_.size() - 1);
    }
    return at;
  }
  void grow() {
    std::vector<std::uint64_t> before(slots_.empty() ? 64 : slots_.size() * 2);
    before.swap(slots_);
    for (const std::uint64_t slot : before) {
      if (slot != 0) {
        slots_[place_of(slot - 1)] = slot;
      }
    }
  }

  std::vector<std::uint64_t> slots_;  // offset + 1; 0: free. Their number is a power of two
  std::size_t count_ = 0;
};

}  // namespace pkgfs
