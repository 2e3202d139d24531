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

/// A parsed TOML text with typed access. Private to this folder. Every error quotes the line that is wrong, as the
/// reference's TOML parser does: Error(kCorrupt) `TOML parse error at line L, column C`, the line, a marker, the
/// reason.
class TomlDocument {
 public:
  /// Limits far above those of a wasmer.toml that a person writes. toml++ recurses, so deep nesting could overflow the
  /// stack.
  static constexpr std::size_t kMaxBytes = 1U << 20U;
  static constexpr std::size_t kMaxNesting = 32;   // brackets inside each other
  static constexpr std::size_t kMaxKeyParts = 16;  // `a.b.c` has three

  /// `text` must outlive the document.
  explicit TomlDocument(std::string_view text);

  [[nodiscard]] const toml::table& root() const { return root_; }

  /// The optional text `key`. `expected` names its kind in messages.
  [[nodiscard]] std::optional<std::string> text(const toml::table& table, std::string_view key) const;
  [[nodiscard]] std::string required_text(const toml::table& table, std::string_view key) const;
  /// The optional text `key`, which names a file and so contains no NUL.
  [[nodiscard]] std::optional<std::string> path(const toml::table& table, std::string_view key) const;
  [[nodiscard]] std::string required_path(const toml::table& table, std::string_view key) const;
  [[nodiscard]] bool boolean(const toml::table& table, std::string_view key) const;
  /// The optional table `key`; null if missing.
  [[nodiscard]] const toml::table* table(const toml::table& parent, std::string_view key,
                                         std::string_view expected) const;
  /// The tables of the optional array `key`.
  [[nodiscard]] std::vector<const toml::table*> tables(const toml::table& parent, std::string_view key,
                                                       std::string_view expected) const;
  /// The texts of the optional array `key`, each naming a file.
  [[nodiscard]] std::vector<std::string> paths(const toml::table& parent, std::string_view key) const;
  [[nodiscard]] std::string as_text(const toml::node& node, std::string_view expected = "a string") const;
  [[nodiscard]] std::string as_path(const toml::node& node) const;

  [[noreturn]] void reject(const toml::node& node, std::string_view reason) const;
  [[noreturn]] void reject_type(const toml::node& node, std::string_view expected) const;

 private:
  /// `value`, which is that of `key`; rejects `table` if it is missing.
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
