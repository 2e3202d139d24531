// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// Texts from outside (names, paths, ids, versions, messages of servers, the environment, lock files) as parts of a
/// message. Such a text must not begin a line of its own, move the cursor of a terminal, change the order in which the
/// characters after it are shown, or have parts that a reader doesn't see.
namespace pkgfs {

/// A message is cut in its middle at this many characters, whatever its parts are.
inline constexpr std::size_t kLongestMessage = 2000;
/// The same for a text of a server in a message.
inline constexpr std::size_t kLongestServerText = 300;

/// Whether `c` drives a terminal, reorders text or can't be seen: control characters (C0, DEL, C1), line and paragraph
/// separators, bidirectional marks, embeddings, overrides and isolates (U+061C, U+200E, U+200F, U+202A to U+202E,
/// U+2066 to U+2069), and characters without a width, with which two different names look alike (U+200B to U+200D,
/// U+2060, U+FEFF).
[[nodiscard]] constexpr bool is_hidden(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || c == 0x2060 || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/// `text` with each byte as `\xNN` of hidden characters, and of what isn't UTF-8. Backslashes stay, so that to apply it
/// twice changes nothing more. `keep_newlines` is for a message of several lines whose parts are printable already.
[[nodiscard]] std::string printable(std::string_view text, bool keep_newlines = false);

/// A valid JSON text with the hidden characters as `\uNNNN`, which doesn't change its values: a JSON parser allows such
/// characters only inside of strings.
[[nodiscard]] std::string printable_json(std::string_view json);

/// `text`, of which "…" replaces the middle if it has more than `limit` characters (code points; a byte that isn't
/// UTF-8 counts as one). The result has `limit` characters then, and its end is as long as its beginning: both ends of
/// a path tell most.
[[nodiscard]] std::string shortened(std::string_view text, std::size_t limit = 200);

}  // namespace pkgfs
