// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pkgfs {

/// Names the format of a file by its first bytes, for messages about a file that is no package: `an HTML page`,
/// `a Debian package`. Empty for a container, a gzip'd file, and any other file.
[[nodiscard]] std::optional<std::string_view> file_kind(std::span<const std::byte> bytes);

/// Whether `bytes` begin like an HTML page.
[[nodiscard]] bool is_html(std::span<const std::byte> bytes);
/// The same for the content of a file; false if it can't be read.
[[nodiscard]] bool is_html_file(const std::string& path);

}  // namespace pkgfs
