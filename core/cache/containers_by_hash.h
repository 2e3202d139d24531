// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
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

/// The cache of downloaded containers whose hash a registry announced: `{directory}/{SHA-256 in hex}.bin`. Wasmer uses
/// the same directory (its `checkouts`, docs/rules/loading.md, 1.4). An entry appears by rename, so it is always
/// complete; pkgfs makes it read-only. Readers take no lock. Partial downloads are in `__temp__`, and the locks of
/// their writers in `.locks`. Any process may remove an entry at any time; a process that has it open can continue to
/// read it. Thread-safe.
class ContainersByHash {
 public:
  /// Creates and opens nothing; the first `reserve` creates the directory.
  explicit ContainersByHash(std::string directory) : directory_(std::move(directory)) {}

  struct Entry {
    Sha256 hash{};
    std::string path;
    std::uint64_t size = 0;
    std::chrono::system_clock::time_point used;  // the last use, as far as the file system records it
  };

  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] std::string path_of(const Sha256& hash) const;

  /// The path of the entry of `hash`, if its content can be trusted; else nothing. Marks the entry as used now. An
  /// entry that is writable, or that belongs to neither this user nor root, may not have been checked. pkgfs hashes
  /// such an entry and then makes it read-only. An entry that is damaged or can't be read is set aside and counts as
  /// missing. Throws Error if the directory can't be read, and as `hash_or_set_aside`.
  [[nodiscard]] std::optional<std::string> find(const Sha256& hash);
  /// The hash of the content of the entry of `hash`; nothing if the entry is gone. If it can't be read, sets it aside
  /// and returns nothing. Throws Error if memory or file descriptors ran out, because the entry may be sound then.
  /// Throws Error(kInterrupted).
  [[nodiscard]] std::optional<Sha256> hash_or_set_aside(const Sha256& hash);
  /// Renames the damaged entry of `hash` to `{entry}.corrupt-{pid}`, with a warning that gives the reason `why`.
  void set_aside(const Sha256& hash, const std::string& why);

  /// Waits until no other thread or process fills the entry, for `longest` at most. Without `longest`, waits until the
  /// partial file hasn't grown for FileLock::kLongestWait. The caller then calls `find` again, because the other thread
  /// or process may have made the entry. The first call also removes leftovers that are older than a day, and
  /// containers fetched in parts that weren't used for 30 days.
  ///
  /// Throws Error if the directory can't be written, or if other users may replace files in it. Throws Error(kBusy)
  /// after the wait, and Error(kInterrupted) when cancelled.
  [[nodiscard]] PartialEntry reserve(const Sha256& hash, const CancelFlag& cancel,
                                     std::optional<std::chrono::milliseconds> longest = std::nullopt);
  /// Moves the partial file into the place of the entry of `hash`, which must be the hash of its content. `hashed` is
  /// the open file whose content the caller has hashed. Returns the path of the entry. Throws Error, also if the
  /// partial file isn't `hashed` any more.
  std::string commit(const PartialEntry& partial, const UniqueFd& hashed, const Sha256& hash);
  /// The same for the container fetched in parts that is at `part`, in the directory for temporary files. `hashed` is
  /// its descriptor. Another container that is at `part` meanwhile stays.
  std::string commit(const std::string& part, int hashed, const Sha256& hash);
  /// The directory for files that aren't complete. It may not exist yet.
  [[nodiscard]] std::string temporary_directory() const { return directory_ + "/__temp__"; }
  /// Syncs all commits since the last call, so that they survive a power cut. One call for many commits is cheaper than
  /// a call for each of them. Throws Error.
  void sync();

  /// All entries, sorted by hash. A missing directory has none. Throws Error `Could not read image cache dir: '{d}'`.
  [[nodiscard]] std::vector<Entry> entries() const;
  /// The hash of the content of `entry`; none if the entry is gone. Throws Error naming it.
  [[nodiscard]] std::optional<Sha256> content_hash(const Entry& entry) const;
  /// Removes `entry`, which may be gone already. Throws Error naming it.
  void remove(const Entry& entry);
  /// Removes partial downloads and set-aside entries that are at least `age` old. Downloads whose lock a process holds
  /// stay. Also removes locks that are older than a day and that no process holds. Returns how many bytes that frees.
  /// With `dry_run`, removes nothing, and returns how many bytes a removal would free.
  std::uint64_t remove_leftovers(std::chrono::seconds age, bool dry_run = false);
  /// Removes the containers that are fetched in parts (lazy_files.h), that no process has used for `age`, and that none
  /// uses now. Returns how many bytes that frees. With `dry_run`, removes nothing, and returns how many bytes a removal
  /// would free.
  std::uint64_t remove_partial(std::chrono::seconds age, bool dry_run = false);

 private:
  std::string commit(const std::string& part, int hashed, const Sha256& hash, cache_files::Replaced replaced);

  std::string directory_;
  std::once_flag prepared_;         // the first `reserve` has removed old leftovers
  std::atomic<bool> dirty_{false};  // there are commits since the last `sync`
};

}  // namespace pkgfs
