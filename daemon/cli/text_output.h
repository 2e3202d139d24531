// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/base/printable.h"
#include "core/vfs/file_system.h"

namespace pkgfs {

/// `text` with a capital and a full stop. It gets no capital if it begins with a word to type and an explanation of
/// that word, as in "auto (default): ...".
[[nodiscard]] std::string sentence(std::string_view text);
/// `text` in lines of at most `width` columns, broken at blanks and at its own line ends. All lines but the first begin
/// with `indent` blanks. The width of each line, also of the first, includes the indent. The last line has no line end.
/// A word that is too long gets a line of its own.
[[nodiscard]] std::string wrapped(std::string_view text, std::size_t width, std::size_t indent = 0);

/// `-rw-r--r--`
[[nodiscard]] std::string mode_text(const vfs::Attributes& attributes);
/// `2022-03-07 12:00:37` in UTC, or `@seconds` for a time outside the calendar.
[[nodiscard]] std::string time_text(std::int64_t seconds);
/// `1.5 KiB`
[[nodiscard]] std::string size_text(std::uint64_t bytes);

/// `pkgfs: error: …`, with a line for each cause.
[[nodiscard]] std::string error_text(const Error& error);

}  // namespace pkgfs
