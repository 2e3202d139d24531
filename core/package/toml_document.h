// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <toml++/toml.h>

#include "core/webc/manifest.h"

namespace pkgfs {

/// A parsed TOML text with typed access. Private to this folder. Errors look like those of the reference's TOML parser.
/// They are Error(kCorrupt) `TOML parse error at line L, column C`, with the wrong line, a marker and the reason. A
/// line of more than 200 bytes isn't shown. A text of more than `kMaxBytes` bytes has an error of its own.
class TomlDocument {
 public:
  /// Limits, far above the needs of a wasmer.toml that is written by hand. toml++ recurses, so deep nesting could
  /// overflow the stack.
  static constexpr std::size_t kMaxBytes = 1U << 20U;
  static constexpr std::size_t kMaxNesting = 32;   // brackets inside each other
  static constexpr std::size_t kMaxKeyParts = 16;  // `a.b.c` has three

  /// `text` must outlive the document.
  explicit TomlDocument(std::string_view text);

  [[nodiscard]] const toml::table& root() const { return root_; }

  /// The text at `key`; none if it is missing. The functions whose names begin with `required_` reject a table in which
  /// it is missing. All functions reject a value of another type. Some have a parameter `expected`: the name of the
  /// right type, for the message.
  [[nodiscard]] std::optional<std::string> text(const toml::table& table, std::string_view key) const;
  [[nodiscard]] std::string required_text(const toml::table& table, std::string_view key) const;
  /// The same for a text that names a file. It must not contain a NUL.
  [[nodiscard]] std::optional<std::string> path(const toml::table& table, std::string_view key) const;
  [[nodiscard]] std::string required_path(const toml::table& table, std::string_view key) const;
  /// False if it is missing.
  [[nodiscard]] bool boolean(const toml::table& table, std::string_view key) const;
  /// The table at `key`; null if it is missing.
  [[nodiscard]] const toml::table* table(const toml::table& parent, std::string_view key,
                                         std::string_view expected) const;
  /// The tables in the array at `key`; empty if it is missing.
  [[nodiscard]] std::vector<const toml::table*> tables(const toml::table& parent, std::string_view key,
                                                       std::string_view expected) const;
  /// The texts in the array at `key`, each of which names a file; empty if it is missing.
  [[nodiscard]] std::vector<std::string> paths(const toml::table& parent, std::string_view key) const;
  [[nodiscard]] std::string as_text(const toml::node& node, std::string_view expected = "a string") const;
  [[nodiscard]] std::string as_path(const toml::node& node) const;

  [[noreturn]] void reject(const toml::node& node, std::string_view reason) const;
  [[noreturn]] void reject_type(const toml::node& node, std::string_view expected) const;

 private:
  /// Returns `value`, the one at `key`. If it is missing, rejects `table`.
  [[nodiscard]] std::string required(const toml::table& table, std::string_view key,
                                     std::optional<std::string> value) const;
  [[noreturn]] void reject_at(std::size_t line, std::size_t column, std::size_t length, std::string_view reason) const;
  void check_nesting() const;

  std::string_view text_;
  toml::table root_;
};

/// The members of `table` in the order of the file.
[[nodiscard]] std::vector<std::pair<std::string, const toml::node*>> in_file_order(const toml::table& table);

/// The value as JSON; dates become text.
[[nodiscard]] webc::Json toml_to_json(const toml::node& node);

}  // namespace pkgfs
