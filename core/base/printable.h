// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// Makes texts from outside safe as parts of a message. Such texts are names, paths, ids, versions, messages of
/// servers, the environment and lock files. They must not begin a line of their own, move the cursor of a terminal, or
/// change the order of the characters after them. They must not have invisible parts, either.
namespace pkgfs {

/// The most characters of a message. A longer message loses its middle (`shortened`).
inline constexpr std::size_t kLongestMessage = 2000;
/// The most characters of a text of a server inside a message.
inline constexpr std::size_t kLongestServerText = 300;

/// Whether `c` drives a terminal, reorders text or can't be seen. Such characters are:
/// - control characters (C0, DEL, C1), and line and paragraph separators;
/// - bidirectional marks, embeddings, overrides and isolates (U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to
///   U+2069);
/// - characters without a width, with which two different names look alike (U+200B to U+200D, U+2060, U+FEFF).
[[nodiscard]] constexpr bool is_hidden(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || c == 0x2060 || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/// `text`, in which `\xNN` replaces each byte of a hidden character, and each byte that isn't UTF-8. Backslashes stay,
/// so a second call changes nothing more. With `keep_newlines`, line breaks stay, too. That is for a message of several
/// lines whose parts are printable already.
[[nodiscard]] std::string printable(std::string_view text, bool keep_newlines = false);

/// The valid JSON text `json`, in which `\uNNNN` replaces each hidden character beyond U+001F. This doesn't change its
/// values, because JSON has such characters only inside of strings. White space between the values stays.
[[nodiscard]] std::string printable_json(std::string_view json);

/// `text`. If it has more than `limit` characters, "…" replaces its middle, so that `limit` characters are left. A
/// character is a code point, or a byte that isn't UTF-8. The beginning and the end that stay are about equally long,
/// because both ends of a path matter most.
[[nodiscard]] std::string shortened(std::string_view text, std::size_t limit = 200);

}  // namespace pkgfs
