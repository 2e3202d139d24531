// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pkgfs::vfs {

/// The modified time of an entry that has none of its own: docs/rules/filesystem.md, 9.5.
enum class Times : std::uint8_t {
  kDigest,     // made of a hash of the content, so that a changed file has another time
  kStored,     // 1970-01-01 00:00:01 UTC, as in the reference
  kContainer,  // that of the container file
};

/// A time made of a hash: an even second from 1980-01-02 to 2019-12-31. FAT and ZIP store only even seconds, and none
/// before 1980. Times of equal hashes are equal; those of two different hashes are equal once in 600 million cases.
[[nodiscard]] constexpr std::int64_t digest_time(std::uint64_t digest) {
  constexpr std::uint64_t kFirst = 315'619'200;   // 1980-01-02 00:00:00 UTC: still 1980 in every time zone
  constexpr std::uint64_t kLast = 1'577'836'800;  // 2020-01-01 00:00:00 UTC
  constexpr std::uint64_t kTimes = (kLast - kFirst) / 2;
  return static_cast<std::int64_t>(kFirst + 2 * (((digest >> 32U) * kTimes) >> 32U));
}

/// The time made of a SHA-256, or of any other hash of at least 4 bytes.
[[nodiscard]] constexpr std::int64_t digest_time(std::span<const std::byte> hash) {
  std::uint64_t digest = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    digest = digest << 8U | static_cast<std::uint64_t>(hash[i]);
  }
  return digest_time(digest << 32U);
}

}  // namespace pkgfs::vfs
