// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/webc/manifest.h"

namespace pkgfs {

/// The cache of one registry's answers to queries by name, in Wasmer's format (docs/rules/resolution.md, 7.1). The file
/// for a name is `{directory}/{full name}`, where "#" replaces the "/" in the name. A file appears by rename, so other
/// threads and processes never see an incomplete one. Thread-safe.
class RegistryAnswerCache {
 public:
  struct Entry {
    webc::Json response;
    /// The time since the answer was stored; none if that is in the future, because the clock was set back.
    std::optional<std::chrono::seconds> age;

    [[nodiscard]] bool is_fresh(std::chrono::seconds timeout) const { return age && *age <= timeout; }
  };

  /// Answers are stored in `directory`. The directories `others` are searched after it, and never changed. They may
  /// also have the layout of earlier Wasmer releases, `{directory}/{namespace}/{name}`.
  explicit RegistryAnswerCache(std::string directory, std::vector<std::string> others = {})
      : directory_(std::move(directory)), others_(std::move(others)) {}

  /// The last answer that was stored for `full_name`, regardless of its age: an old answer serves when the registry
  /// can't be reached. None if there is none. A file that can't be used is logged. If its content is wrong and it is in
  /// `directory`, it is also removed.
  [[nodiscard]] std::optional<Entry> find(std::string_view full_name) const;
  /// Stores an answer. A failure is only logged, because the caller has the answer.
  void store(std::string_view full_name, const webc::Json& response) const;

 private:
  [[nodiscard]] std::optional<Entry> read(const std::string& path, std::string_view full_name, bool is_ours) const;

  std::string directory_;
  std::vector<std::string> others_;
};

}  // namespace pkgfs
