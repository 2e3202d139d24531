// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

/// What the parsers of this folder share: reading integers, judging names, writing messages.
namespace pkgfs::webc {

/// Little endian; `at` must leave 8 bytes.
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

[[nodiscard]] bool is_utf8(std::string_view text);

/// Why `name` can't be the name of a directory entry; null when it can.
[[nodiscard]] const char* name_problem(std::string_view name);

/// Why `target` can't be what a symbolic link says; null when it can.
[[nodiscard]] const char* link_problem(std::string_view target);

/// `text` in double quotes for a message: control and non-UTF-8 bytes escaped, shortened when long.
[[nodiscard]] std::string in_quotes(std::string_view text);

/// "0x1f".
[[nodiscard]] std::string hex(std::uint64_t value);

}  // namespace pkgfs::webc
