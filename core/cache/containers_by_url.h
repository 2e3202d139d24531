// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/hash.h"
#include "core/cache/cache_files.h"
#include "core/cache/partial_entry.h"

namespace pkgfs {

class Url;

/// The cache of files that a user or a package named by URL: `{directory}/{SHA-256 of the URL in upper-case hex}`. The
/// URL itself isn't stored. Beside an entry, a file with the ending ".etag" has the server's ETag. If there is no ETag,
/// a file with the ending ".modified" may have the Last-Modified date. A file with the ending ".sha256" has the hash of
/// the entry, if pkgfs had to know it. The modification time of an entry is the time at which the server last confirmed
/// it. Partial downloads and the locks of their writers are in `__temp__`. Thread-safe.
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

  /// The path and age of an entry.
  struct Found {
    std::string path;
    std::optional<std::chrono::seconds> age;  // since the server last confirmed it; none if that time is in the future
  };

  [[nodiscard]] const std::string& directory() const { return directory_; }
  /// The directory for files that aren't complete.
  [[nodiscard]] std::string temporary_directory() const { return directory_ + "/__temp__"; }
  /// The name of the entry of `url`.
  [[nodiscard]] static std::string key_of(const Url& url);
  [[nodiscard]] std::string path_of(const Url& url) const;
  /// The entry of `url`; nothing if there is none. Marks the entry as used now.
  [[nodiscard]] std::optional<Found> find(const Url& url) const;
  /// The ETag that belongs to the entry of `url`; none if the server gave none. Throws Error if it can't be read.
  [[nodiscard]] std::optional<std::string> etag_of(const Url& url) const;
  /// The Last-Modified date that belongs to the entry of `url`. None if the server gave no usable date, or gave an
  /// ETag. Throws as `etag_of`.
  [[nodiscard]] std::optional<std::string> date_of(const Url& url) const;
  /// The hash of the content of the entry of `url`; nothing if there is none. Hashes the entry once, and later reads it
  /// from the file beside it, as long as the size and the modification time of the entry stay. An entry that belongs to
  /// neither this user nor root is hashed each time. Throws as `hash_file`.
  [[nodiscard]] std::optional<Sha256> content_hash(const Url& url) const;
  /// What changes when another file takes the place of the entry of `url`. Empty if there is no entry.
  [[nodiscard]] std::string state_of(const Url& url) const;
  /// Records that the server has just confirmed the entry of `url`.
  void mark_current(const Url& url);

  /// Waits until no other thread or process fills the entry of `url`, as `ContainersByHash::reserve` does. The first
  /// call also removes containers fetched in parts that weren't used for 30 days.
  [[nodiscard]] PartialEntry reserve(const Url& url, const CancelFlag& cancel,
                                     std::optional<std::chrono::milliseconds> longest = std::nullopt);
  /// Moves the partial file into the place of the entry of `url`, and syncs the directory. `downloaded` is the open
  /// file with the content. Keeps `etag`, or `date`, the Last-Modified date, if there is no ETag. Returns the path of
  /// the entry. Throws Error, also if the partial file isn't `downloaded` any more.
  std::string commit(const PartialEntry& partial, const UniqueFd& downloaded, const Url& url,
                     const std::optional<std::string>& etag, const std::optional<std::string>& date = std::nullopt);
  /// The same for the container fetched in parts that is at `part`, in the directory for temporary files. `downloaded`
  /// is its descriptor. Another container that is at `part` meanwhile stays. The caller has reserved the entry.
  std::string commit(const std::string& part, int downloaded, const Url& url, const std::optional<std::string>& etag,
                     const std::optional<std::string>& date);

  /// All entries, sorted by key. A missing directory has none. Throws Error naming the directory.
  [[nodiscard]] std::vector<Entry> entries() const;
  /// Removes the entry at `path`, which may be gone already, and the files beside it. Throws Error naming the file.
  void remove(const std::string& path);
  /// The same for `entry`, unless another process fills it at the moment: then does nothing, and returns false.
  bool remove_if_free(const Entry& entry);
  /// Removes partial downloads, and ETags, dates and hashes without an entry, that are at least `age` old. Downloads
  /// whose lock a process holds stay. Also removes locks that are older than a day and that no process holds. Returns
  /// how many bytes that frees. With `dry_run`, removes nothing, and returns how many bytes a removal would free.
  std::uint64_t remove_leftovers(std::chrono::seconds age, bool dry_run = false);
  /// Removes the containers that are fetched in parts (lazy_files.h), that no process has used for `age`, and that none
  /// uses now. Returns how many bytes that frees. With `dry_run`, removes nothing, and returns how many bytes a removal
  /// would free.
  std::uint64_t remove_partial(std::chrono::seconds age, bool dry_run = false);

 private:
  std::string commit(const std::string& part, int downloaded, const Url& url, const std::optional<std::string>& etag,
                     const std::optional<std::string>& date, cache_files::Replaced replaced);

  std::string directory_;
  std::once_flag prepared_;  // the first `reserve` has removed old leftovers
};

}  // namespace pkgfs
