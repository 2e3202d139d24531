// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/vfs/file_system.h"

namespace pkgfs {

/// `text` for a terminal: control characters as `\xNN`, so that a name in a hostile package can't move the cursor or
/// set the title. `keep_newlines`: for messages of several lines.
[[nodiscard]] std::string printable(std::string_view text, bool keep_newlines = false);

/// `-rw-r--r--`
[[nodiscard]] std::string mode_text(const vfs::Attributes& attributes);
/// `2022-03-07 12:00:37` in UTC, or `@seconds` for what no calendar has.
[[nodiscard]] std::string time_text(std::int64_t seconds);
/// `1.5 KiB`
[[nodiscard]] std::string size_text(std::uint64_t bytes);

/// `pkgfs: error: …` with a line for each cause.
[[nodiscard]] std::string error_text(std::string_view what);

}  // namespace pkgfs
