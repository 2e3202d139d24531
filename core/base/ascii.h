// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>

namespace pkgfs {

/// Converts ASCII letters to lower case and leaves all other characters as they are, whatever the locale is.
[[nodiscard]] constexpr char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
[[nodiscard]] inline std::string to_lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) { return to_lower(c); });
  return text;
}

}  // namespace pkgfs
