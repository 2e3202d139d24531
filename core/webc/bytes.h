// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/base/limits.h"
#include "core/base/utf8.h"

/// Helpers of the parsers in this folder: read integers, check names, write messages.
namespace pkgfs::webc {

/// The little-endian integer at `at`; the caller has checked that 8 bytes follow.
[[nodiscard]] inline std::uint64_t load_u64(std::span<const std::byte> bytes, std::uint64_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) {  // compilers make one load of it
    value |= static_cast<std::uint64_t>(bytes[at + i]) << (8 * i);
  }
  return value;
}

[[nodiscard]] inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// True if `length` bytes from `start` lie inside `size` bytes; never overflows.
[[nodiscard]] constexpr bool fits(std::uint64_t start, std::uint64_t length, std::uint64_t size) {
  return start <= size && length <= size - start;
}

using pkgfs::is_utf8;

/// Why `name` can't be the name of a directory entry ("is empty"); null if it can.
[[nodiscard]] const char* name_problem(std::string_view name);

/// Why `target` can't be the target of a symbolic link; null if it can.
[[nodiscard]] const char* link_problem(std::string_view target);

/// `text` in double quotes, for a message. A longer text is cut after 80 bytes. Quotes and backslashes get a backslash.
/// `\xNN` replaces each control character. If the text isn't UTF-8, it also replaces every byte that isn't ASCII.
[[nodiscard]] std::string in_quotes(std::string_view text);

/// The end of a message: "20000 volumes, more than the limit of 10000 for local packages".
[[nodiscard]] std::string over_limit(std::uint64_t value, std::uint64_t limit, std::string_view what,
                                     const limits::PackageLimits& set);

/// Hexadecimal with a prefix: "0x1f".
[[nodiscard]] std::string hex(std::uint64_t value);

}  // namespace pkgfs::webc
