// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string_view>

namespace pkgfs {

struct CodePoint {
  char32_t value = 0;
  std::size_t bytes = 0;  // that it takes in UTF-8; 0: none
};

/// The code point with which `text` begins. None if `text` is empty or doesn't begin with valid UTF-8: overlong forms,
/// surrogates and values beyond U+10FFFF are invalid.
[[nodiscard]] CodePoint first_code_point(std::string_view text);

[[nodiscard]] bool is_utf8(std::string_view text);

}  // namespace pkgfs
