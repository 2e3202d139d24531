// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string_view>

namespace pkgfs {

/// ASCII only, whatever the locale.
[[nodiscard]] constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Whether `text` has nothing but ASCII digits; true for an empty one.
[[nodiscard]] constexpr bool all_digits(std::string_view text) {
  return std::all_of(text.begin(), text.end(), is_digit);
}

}  // namespace pkgfs
