// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "core/base/hash.h"
#include "core/package/package_id.h"
#include "core/resolve/resolve.h"
#include "core/vfs/file_system.h"

namespace pkgfs {

/// One document, keys sorted, with a newline at its end. Bytes that aren't UTF-8 become U+FFFD.
void print_json(std::ostream& out, const nlohmann::json& document);
/// The same in one line without the newline.
[[nodiscard]] std::string json_line(const nlohmann::json& document);

[[nodiscard]] std::string hex(std::span<const std::byte> bytes);
/// Nanoseconds since the epoch; clamped to what 64 bits hold.
[[nodiscard]] std::int64_t nanoseconds(std::int64_t seconds, std::uint32_t fraction = 0);

/// `resolve --json`.
[[nodiscard]] nlohmann::json resolution_json(const Resolution& resolution);

/// One entry of `tree --json`: path, type, mtime_ns, and len and sha256 of a file or the target of a link.
[[nodiscard]] nlohmann::json entry_json(std::string_view path, const vfs::Attributes& attributes,
                                        const std::optional<Sha256>& sha256, std::string_view target);

/// Null for nothing.
[[nodiscard]] nlohmann::json optional_json(const std::optional<std::string>& text);

}  // namespace pkgfs
