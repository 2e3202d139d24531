// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/webc/manifest.h"

namespace pkgfs {

/// The answers of one registry on disk, in Wasmer's files (docs/rules/resolution.md, 7.1): `{directory}/{full name, "/"
/// as "#"}`. Thread-safe as far as files are: entries appear by rename.
class QueryCache {
 public:
  struct Entry {
    webc::Json response;
    /// Since it was written; none if that is in the future, as after the clock was set back.
    std::optional<std::chrono::seconds> age;

    [[nodiscard]] bool is_fresh(std::chrono::seconds timeout) const { return age && *age <= timeout; }
  };

  /// `others`: directories that are read, too, after this one, and not changed. There the names may also be laid out as
  /// earlier releases of Wasmer did: `{directory}/{namespace}/{name}`.
  explicit QueryCache(std::string directory, std::vector<std::string> others = {})
      : directory_(std::move(directory)), others_(std::move(others)) {}

  /// What was last stored for `full_name`, however old: stale entries stay, for the time without a network. Anything
  /// that can't be used is logged, removed, and nothing.
  [[nodiscard]] std::optional<Entry> find(std::string_view full_name) const;
  /// Failures are logged: the answer is there, only not the next time.
  void store(std::string_view full_name, const webc::Json& response) const;

 private:
  [[nodiscard]] std::optional<Entry> read(const std::string& path, std::string_view full_name, bool is_ours) const;

  std::string directory_;
  std::vector<std::string> others_;
};

/// "3 minutes", "2 hours", for messages.
[[nodiscard]] std::string age_text(std::optional<std::chrono::seconds> age);

}  // namespace pkgfs
