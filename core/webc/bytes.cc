// SPDX-License-Identifier: MIT
#include "core/webc/bytes.h"

#include <array>
#include <charconv>

#include "core/base/limits.h"

namespace pkgfs::webc {

const char* name_problem(std::string_view name) {
  if (name.empty()) {
    return "is empty";
  }
  if (name.size() > limits::kNameBytes) {
    return "is longer than 255 bytes";
  }
  if (name == "." || name == "..") {
    return "is reserved";
  }
  for (const char c : name) {
    if (c == '/') {
      return "contains a slash";
    }
    if (c == '\0') {
      return "contains a NUL byte";
    }
  }
  return is_utf8(name) ? nullptr : "is not UTF-8";
}

const char* link_problem(std::string_view target) {
  if (target.empty()) {
    return "is empty";
  }
  if (target.size() > limits::kLinkBytes) {
    return "is longer than 4095 bytes";
  }
  if (target.find('\0') != std::string_view::npos) {
    return "contains a NUL byte";
  }
  return is_utf8(target) ? nullptr : "is not UTF-8";
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kShown = 80;
  std::string_view shown = text.substr(0, kShown);
  // A cut in the middle of a character would make all of it look broken.
  while (shown.size() < text.size() && !shown.empty() && continues_character(text[shown.size()])) {
    shown.remove_suffix(1);
  }
  const bool readable = is_utf8(shown);
  std::string out = "\"";
  for (const char c : shown) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !readable)) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      out += "\\x";
      out += kDigits[byte >> 4U];
      out += kDigits[byte & 0xfU];
    } else {
      out += c;
    }
  }
  out += shown.size() < text.size() ? "…\"" : "\"";
  return out;
}

std::string over_limit(std::uint64_t value, std::uint64_t limit, std::string_view what,
                       const limits::PackageLimits& set) {
  return std::to_string(value) + " " + std::string(what) + ", more than the limit of " + std::to_string(limit) +
         " for " + std::string(set.name);
}

std::string hex(std::uint64_t value) {
  std::array<char, 18> digits{'0', 'x'};
  const auto end = std::to_chars(digits.data() + 2, digits.data() + digits.size(), value, 16).ptr;
  return {digits.data(), end};
}

}  // namespace pkgfs::webc
