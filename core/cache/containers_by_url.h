// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace pkgfs {

/// Looks after what UrlSource keeps (core/source/url_source.h): `{directory}/{SHA-256 of the URL}` with an ".etag"
/// beside it. Which URL that was isn't written down.
class ContainersByUrl {
 public:
  explicit ContainersByUrl(std::string directory) : directory_(std::move(directory)) {}

  struct Entry {
    std::string key;  // 64 hex digits
    std::string path;
    std::uint64_t size = 0;
    std::chrono::system_clock::time_point used;  // last, as far as known
  };

  /// By key. A directory that isn't there has none. Throws Error naming the directory.
  [[nodiscard]] std::vector<Entry> entries() const;
  /// With its ETag. Throws Error naming it.
  void remove(const Entry& entry);
  /// As ContainersByHash::remove_leftovers.
  std::uint64_t remove_leftovers(std::chrono::seconds age, bool dry_run = false);

 private:
  std::string directory_;
};

}  // namespace pkgfs
