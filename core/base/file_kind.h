// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pkgfs {

/// The format of a file that is no package, for messages: `an HTML page`, `a Debian package`. It is judged by the first
/// KiB of `bytes`. Nothing for a container, for a gzip'd file, and for a format that pkgfs doesn't know.
[[nodiscard]] std::optional<std::string_view> file_kind(std::span<const std::byte> bytes);

/// Whether `bytes` begin like an HTML page.
[[nodiscard]] bool is_html(std::span<const std::byte> bytes);
/// The same for the file at `path`; false if it can't be read.
[[nodiscard]] bool is_html_file(const std::string& path);

}  // namespace pkgfs
