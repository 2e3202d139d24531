// SPDX-License-Identifier: MIT
#include "core/base/printable.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "core/base/utf8.h"

namespace pkgfs {
namespace {

constexpr std::string_view kEllipsis = "…";

/// The bytes of the first character of `text`, which isn't empty.
std::size_t character_bytes(std::string_view text) { return std::max<std::size_t>(first_code_point(text).bytes, 1); }

std::size_t count_characters(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++count) {
    at += character_bytes(text.substr(at));
  }
  return count;
}

/// The bytes of the first `count` characters; `text` has as many.
std::size_t bytes_of(std::string_view text, std::size_t count) {
  std::size_t at = 0;
  for (; count > 0; --count) {
    at += character_bytes(text.substr(at));
  }
  return at;
}

}  // namespace

std::string printable(std::string_view text, bool keep_newlines) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint point = first_code_point(text);
    const std::string_view bytes = text.substr(0, std::max<std::size_t>(point.bytes, 1));
    text.remove_prefix(bytes.size());
    if (point.bytes > 0 && (!is_hidden(point.value) || (keep_newlines && point.value == '\n'))) {
      out += bytes;
      continue;
    }
    for (const char c : bytes) {
      const auto byte = static_cast<unsigned char>(c);
      out += {'\\', 'x', kDigits[byte >> 4U], kDigits[byte & 15U]};
    }
  }
  return out;
}

std::string printable_json(std::string_view json) {
  std::string text;
  std::size_t copied = 0;
  for (std::size_t at = 0; at < json.size(); ++at) {
    const auto byte = static_cast<unsigned char>(json[at]);
    if (byte != 0x7f && byte != 0xc2 && byte != 0xd8 && byte != 0xe2 && byte != 0xef) {  // begin the hidden characters
      continue;
    }
    const CodePoint point = first_code_point(json.substr(at));
    if (is_hidden(point.value)) {
      text.append(json, copied, at - copied);
      text += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(point.value));
      copied = at + point.bytes;
    }
  }
  return text.append(json, copied);
}

std::string shortened(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) {
    return std::string(text);  // a character takes at least one byte
  }
  const std::size_t count = count_characters(text);
  if (count <= limit || limit == 0) {
    return std::string(count <= limit ? text : std::string_view());
  }
  const std::size_t end = (limit - 1) / 2;
  const std::size_t beginning = limit - 1 - end;
  std::string result(text.substr(0, bytes_of(text, beginning)));
  result += kEllipsis;
  result += text.substr(bytes_of(text, count - end));
  return result;
}

}  // namespace pkgfs
