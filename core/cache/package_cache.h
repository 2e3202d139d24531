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
#include "core/base/files.h"
#include "core/base/hash.h"

namespace pkgfs {

/// Downloaded containers on disk, shared with Wasmer (its `checkouts` directory, docs/rules/loading.md, 1.4):
/// `{directory}/{sha256 in hex}.bin`. Entries appear by rename, complete, and are read-only from then on; readers take
/// no lock. Partial downloads are in `__temp__`, locks of those who download in `.locks`. An entry may be removed at
/// any time: who has it open keeps it.
class PackageCache {
 public:
  /// Nothing is made or opened before it is needed.
  explicit PackageCache(std::string directory) : directory_(std::move(directory)) {}

  struct Entry {
    Sha256 hash{};
    std::string path;
    std::uint64_t size = 0;
    std::chrono::system_clock::time_point used;  // last, as far as known
  };

  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] std::string path_of(const Sha256& hash) const;

  /// The entry's path, marked as used now; nothing if there is none. An entry that pkgfs didn't write (it is writable)
  /// is hashed once. One that is damaged or can't be read is set aside and is none.
  [[nodiscard]] std::optional<std::string> find(const Sha256& hash);
  /// The hash of what the entry holds; nothing when it is gone, and when it had to be set aside as unreadable.
  [[nodiscard]] std::optional<Sha256> hash_or_set_aside(const Sha256& hash);
  /// Moves a damaged entry out of the way, to `{entry}.corrupt-{pid}`, with a warning that gives `why`.
  void set_aside(const Sha256& hash, const std::string& why);

  /// The right to fill one entry; one at a time between all threads and processes.
  class Slot {
   public:
    /// Where to write: a file in `__temp__` that an earlier attempt may have left.
    [[nodiscard]] const std::string& part() const { return part_; }

   private:
    friend class PackageCache;
    Slot(std::string part, std::string lock, const CancelFlag& cancel)
        : part_(std::move(part)), lock_(std::move(lock), cancel) {}
    std::string part_;
    FileLock lock_;
  };
  /// Waits for whoever else fills the entry: look with `find` again afterwards. Throws Error for a directory that can't
  /// be written, Error(kInterrupted).
  [[nodiscard]] Slot reserve(const Sha256& hash, const CancelFlag& cancel);
  /// Makes the part of `slot`, whose content hashes to `hash`, the entry. Returns its path. Throws Error.
  std::string commit(const Slot& slot, const Sha256& hash);
  /// Makes the entries since the last time survive a power cut; one call for many is cheap. Throws Error.
  void sync();

  /// All entries, by hash. A directory that isn't there has none. Throws Error `Could not read image cache dir: '{d}'`.
  [[nodiscard]] std::vector<Entry> entries() const;
  /// Hashes the content of `entry`; nothing if it went away meanwhile. Throws Error naming it.
  [[nodiscard]] std::optional<Sha256> content_hash(const Entry& entry) const;
  /// That it is gone already is fine. Throws Error naming it.
  void remove(const Entry& entry);
  /// Removes partial downloads and set-aside entries that nobody touched for `age`, and lock files older than a day
  /// that nobody holds. Returns how many bytes that frees.
  std::uint64_t remove_leftovers(std::chrono::seconds age, bool dry_run = false);

 private:
  std::string directory_;
  std::once_flag prepared_;         // for downloads
  std::atomic<bool> dirty_{false};  // entries whose names aren't synced
};

}  // namespace pkgfs
