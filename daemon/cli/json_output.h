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

// In all these texts, bytes that aren't UTF-8 become U+FFFD. Characters that `printable` (core/base/printable.h)
// escapes are written as `\uXXXX`. So a JSON text on a terminal or in a log can't drive it. A parser of the JSON text
// gets the same values.

/// Prints one document with sorted keys, indented, and a newline at its end.
void print_json(std::ostream& out, const nlohmann::json& document);
/// Prints the document with its keys in the order of insertion.
void print_ordered_json(std::ostream& out, const nlohmann::ordered_json& document);
/// The document on one line, without a newline.
[[nodiscard]] std::string json_line(const nlohmann::json& document);
/// Prints and flushes that line.
void print_json_line(std::ostream& out, const nlohmann::json& document);

/// Prints an array of any length whose elements are on a line each.
class JsonListPrinter {
 public:
  /// `out` must outlive this.
  explicit JsonListPrinter(std::ostream& out) : out_(out) {}
  /// `line` is one that `json_line` gave.
  void add(std::string_view line);
  void finish();

 private:
  std::ostream& out_;
  bool any_ = false;
};

[[nodiscard]] std::string hex(std::span<const std::byte> bytes);
/// Nanoseconds since the epoch, clamped to 64 bits.
[[nodiscard]] std::int64_t nanoseconds(std::int64_t seconds, std::uint32_t fraction = 0);

/// The document of `resolve --json`.
[[nodiscard]] nlohmann::json resolution_json(const Resolution& resolution);

/// `dir`, `file` or `symlink`, as JSON names types.
[[nodiscard]] std::string_view type_name(vfs::FileType type);

/// One entry of `tree --json`: path, type, mtime_ns; len and sha256 of a file; target of a symbolic link.
[[nodiscard]] nlohmann::json entry_json(std::string_view path, const vfs::Attributes& attributes,
                                        const std::optional<Sha256>& sha256, std::string_view target);

/// The text, or null for none.
[[nodiscard]] nlohmann::json optional_json(const std::optional<std::string>& text);

}  // namespace pkgfs
