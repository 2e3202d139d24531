// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string_view>

namespace pkgfs {

struct CodePoint {
  char32_t value = 0;
  std::size_t bytes = 0;  // its length in UTF-8; 0: there is no code point
};

/// The code point with which `text` begins. None if `text` is empty or doesn't begin with valid UTF-8: overlong forms,
/// surrogates and values beyond U+10FFFF are invalid.
[[nodiscard]] CodePoint first_code_point(std::string_view text);

/// Whether the byte continues a character of UTF-8, so that a text must not be cut in front of it.
[[nodiscard]] constexpr bool continues_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
}

[[nodiscard]] bool is_utf8(std::string_view text);

}  // namespace pkgfs
