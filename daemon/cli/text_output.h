// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/base/printable.h"
#include "core/vfs/file_system.h"

namespace pkgfs {

/// `text` with a capital and a full stop. A word that is typed and that its explanation follows ("auto (default): ...")
/// gets no capital.
[[nodiscard]] std::string sentence(std::string_view text);
/// `text` in lines of at most `width` columns, broken at blanks and at its own line ends. All lines but the first start
/// with `indent` blanks, which count; the last line has no line end. Longer words get a line of their own.
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
