// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace pkgfs::fuse {

/// Which files of one directory were read and prefetched, and how much the next prefetch may fill. A file stands at the
/// position after its entry in the listing (`vfs::DirEntry::next`). Not thread-safe.
///
/// A read of the first file after the prefetched ones doubles the window. A read at another place begins a new region,
/// with the first window. After a few such reads, the directory counts as read at random, and has no window.
struct ReadRegion {
  static constexpr std::uint64_t kFirstWindow = 128U << 10U;  // bytes
  static constexpr std::uint64_t kMostWindow = 1U << 20U;
  /// A reader that leaves out fewer files than this is still reading in order.
  static constexpr std::uint64_t kGap = 4;
  /// Readers that are at most this many files apart count as reading together.
  static constexpr std::uint64_t kFar = 64;

  std::uint64_t begin = 0;   // from here ...
  std::uint64_t end = 0;     // ... to here, all was prefetched or read
  std::uint64_t read = 0;    // the furthest position that was read
  std::uint64_t window = 0;  // bytes; 0: nothing is prefetched
  unsigned jumps = 0;        // reads that were not in order
  unsigned inside = 0;       // reads inside the region since its last prefetch
  /// Not 0: this directory is the last one of this many that were prefetched for a walk. Its first file was left out. A
  /// read of that file shows that the walk is still going on.
  unsigned ahead = 0;
  /// Not 0: a walk came here, for which this many directories were prefetched.
  unsigned walk = 0;
  bool in_order = false;

  /// The region that the first read of a directory begins.
  [[nodiscard]] static ReadRegion begun_at(std::uint64_t position) {
    return {.begin = position - 1, .end = position, .read = position, .window = kFirstWindow};
  }
  /// Takes note of a read of the file at `position`.
  void note_read(std::uint64_t position);
  /// Takes note of a prefetch up to `position`.
  void note_prefetch(std::uint64_t position);
  /// Whether readers have passed `position`, so that it is too late to prefetch the file there.
  [[nodiscard]] bool is_past(std::uint64_t position) const { return position <= read && read <= position + kFar; }
};

}  // namespace pkgfs::fuse
