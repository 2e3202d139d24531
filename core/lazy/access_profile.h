// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/lazy/block_range.h"
#include "core/lazy/sparse_file.h"

namespace pkgfs {

/// Which blocks of one container the readers of its lazy mounts needed, in the order of the first need. The next lazy
/// mount fetches them before a reader asks. The cache keeps a profile beside the container, and a lock file can carry
/// it to other machines. No block is in it twice.
///
/// As a text, a profile is one line: `2 SIZE OPENING READ UNUSED UNUSED SUM`. SIZE is that of the container in bytes.
/// Three lists follow `OPENING`: the blocks that the last mount read, those that the mount before read, and those of
/// the mount before that. A list is `-` or ranges with commas: `FIRST` or `FIRST+COUNT`. SUM is the beginning of the
/// SHA-256 of all before it. Numbers are hexadecimal. A profile has only one text, so that lock files can be compared.
/// The first field is the version of the format. In version 1, a block had 64 KiB. It isn't read.
struct AccessProfile {
  /// The most blocks that readers may need, and the most to open the container: 64 MiB each. They take some seconds on
  /// a usual link. For more than that, it matters little in which order the bytes come.
  static constexpr std::uint64_t kMostBlocks = (64ULL << 20U) / SparseFile::kBlock;
  /// Blocks that no reader needed in so many mounts in a row are dropped. So a mount of which little is read doesn't
  /// cost what the others recorded, and what one mount read by chance isn't fetched for ever.
  static constexpr std::size_t kMounts = 3;
  /// The most bytes of a text. A range has 14 or fewer.
  static constexpr std::size_t kMostText = 2 * kMostBlocks * 14 + 128;

  using Ranges = std::vector<BlockRange>;

  std::uint64_t size = 0;                // of the container, in bytes
  Ranges opening;                        // index, manifest and directory data
  std::array<Ranges, kMounts> mounts{};  // what readers needed: the last mount first

  [[nodiscard]] std::string text() const;
  /// Checks everything. Throws Error(kCorrupt) that says what is wrong, without a name of the profile.
  [[nodiscard]] static AccessProfile parse(std::string_view text);

  friend bool operator==(const AccessProfile&, const AccessProfile&) = default;
};

/// The requests that fetch what is missing of `ranges`, in the order of the first range of each. A gap of at most 64
/// KiB between two ranges is fetched with them, because that costs less than another request. No request is longer than
/// 1 MiB: then they share the link, and a reader that needs something else doesn't wait long. Blocks behind the end of
/// `file` are ignored.
[[nodiscard]] std::vector<BlockRange> requests_for(const AccessProfile::Ranges& ranges, const SparseFile& file);

}  // namespace pkgfs
