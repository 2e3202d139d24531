// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pkgfs {

/// The beginning of the file of a BlockMap: what the map belongs to. A checksum finds a header that was only partly
/// written.
struct MapHeader {
  static constexpr std::size_t kMostValidator = 512;  // bytes
  static constexpr std::size_t kMostBoot = 64;        // bytes
  static constexpr std::size_t kBytes = 1024;         // of every encoded header

  std::string validator;  // of the server's file
  std::uint64_t size = 0;
  std::uint32_t block_size = 0;
  /// The id of the boot during which the map was last opened. Blocks that aren't synced count only during this boot.
  std::string boot;

  /// `validator` and `boot` must not be longer than the limits.
  [[nodiscard]] std::vector<std::byte> encode() const;
  /// Nothing if `bytes` isn't a whole header of this format.
  [[nodiscard]] static std::optional<MapHeader> decode(std::span<const std::byte> bytes);
};

}  // namespace pkgfs
