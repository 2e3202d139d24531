// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "core/cache/partial_entry.h"

namespace pkgfs {

class Url;

/// The cache of containers that a user named by URL: `{directory}/{SHA-256 of the URL in hex}`. A file beside each
/// entry that ends in ".etag" has the server's ETag, or one that ends in ".modified" its Last-Modified date. The URL
/// itself isn't stored. The modification time of an entry is the time at which the server last confirmed it. Partial
/// downloads and the locks of their writers are in `__temp__`. Thread-safe.
class ContainersByUrl {
 public:
  /// Creates and opens nothing; the first `reserve` creates the directory.
  explicit ContainersByUrl(std::string directory) : directory_(std::move(directory)) {}

  struct Entry {
    std::string key;  // 64 hex digits
    std::string path;
    std::uint64_t size = 0;
    std::chrono::system_clock::time_point used;  // the last use, as far as the file system records it
  };

  /// An entry that can be used.
  struct Found {
    std::string path;
    std::optional<std::chrono::seconds> age;  // since the server last confirmed it; none if that is in the future
  };

  [[nodiscard]] std::string path_of(const Url& url) const;
  [[nodiscard]] std::optional<Found> find(const Url& url) const;
  /// The ETag that belongs to the entry of `url`; none if the server gave none. Throws Error if it can't be read.
  [[nodiscard]] std::optional<std::string> etag_of(const Url& url) const;
  /// The Last-Modified date of an entry without an ETag.
  [[nodiscard]] std::optional<std::string> date_of(const Url& url) const;
  /// Records that the server has just confirmed the entry of `url`.
  void mark_current(const Url& url);

  /// Waits until no other thread or process fills the entry, as `ContainersByHash::reserve`.
  [[nodiscard]] PartialEntry reserve(const Url& url, const CancelFlag& cancel,
                                     std::optional<std::chrono::milliseconds> longest = std::nullopt);
  /// Makes the partial file the entry of `url`, synced. `downloaded`: the open file with the content. Keeps `date`, the
  /// Last-Modified date, if there is no ETag. Returns the path of the entry. Throws Error, also if the partial file is
  /// another one.
  std::string commit(const PartialEntry& partial, const UniqueFd& downloaded, const Url& url,
                     const std::optional<std::string>& etag, const std::optional<std::string>& date = std::nullopt);

  /// All entries, by key. A missing directory has none. Throws Error naming the directory.
  [[nodiscard]] std::vector<Entry> entries() const;
  /// Removes the file at `path`, an entry that may be gone already, and its ETag or date. Throws Error naming the file.
  void remove(const std::string& path);
  /// Removes partial downloads, and ETags and dates without an entry, if they are older than `age`. Also removes locks
  /// that are older than a day and that no process holds; leaves downloads whose lock a process holds. Returns how many
  /// bytes that frees; `dry_run` only counts.
  std::uint64_t remove_leftovers(std::chrono::seconds age, bool dry_run = false);

 private:
  std::string directory_;
};

}  // namespace pkgfs
