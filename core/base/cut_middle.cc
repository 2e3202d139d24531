// SPDX-License-Identifier: MIT
#include "core/base/cut_middle.h"

#include <algorithm>

namespace pkgfs {

namespace {

/// Whether a character of UTF-8 may begin with `c`.
bool begins(char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }

/// The length of the first `count` characters of `text`, in bytes. No character is taken to be longer than 4 bytes.
std::size_t first_characters(std::string_view text, std::size_t count) {
  std::size_t at = 0;
  for (; count > 0 && at < text.size(); --count) {
    std::size_t length = 1;
    while (length < 4 && at + length < text.size() && !begins(text[at + length])) {
      ++length;
    }
    at += length;
  }
  return at;
}

}  // namespace

std::string cut_middle(std::string_view text, std::size_t most) {
  if (text.size() <= most || first_characters(text, most) == text.size()) {
    return std::string(text);
  }
  const std::size_t tail = most / 2;
  const std::size_t head = first_characters(text, most - 1 - tail);
  std::size_t begin = text.size();
  for (std::size_t count = tail; count > 0 && begin > head; --count) {
    std::size_t length = 1;
    while (length < 4 && begin - length > head && !begins(text[begin - length])) {
      ++length;
    }
    begin -= length;
  }
  return std::string(text.substr(0, head)) + "…" + std::string(text.substr(begin));
}

}  // namespace pkgfs
