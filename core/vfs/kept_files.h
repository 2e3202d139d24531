// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "core/base/thread_annotations.h"
#include "core/vfs/file_system.h"

namespace pkgfs::vfs {

struct LiveNode;

/// Files of the host that stay open for some seconds, for the next open of the same file. Most of the work of an open
/// is to follow the path on the host, and to make sure that it leads to the same file as before. A kept file needs
/// neither as long as the host reports no change: its path still leads to it. Programs that search or build a directory
/// open the same files again and again. Thread-safe.
///
/// `changes` is the number of changes that the host had reported at a moment (LiveChanges::ChangeCount), and `now` the
/// time in seconds.
class KeptFiles {
 public:
  /// Seconds for which a file is used. A bound, because some changes are never reported (HostWatcher).
  static constexpr std::int64_t kSeconds = 5;

  /// The most files to keep: half of the descriptors that this process may have, and at most 1024. The other
  /// descriptors are left for the files that programs open. 0 if the process may have fewer than 128 descriptors.
  [[nodiscard]] static std::size_t share_of_limit();

  explicit KeptFiles(std::size_t most = share_of_limit()) : most_(most) {}

  /// The file of `node`, if it was kept at the same number of changes. Null: open it by its path. A new node may have
  /// the address of a deleted one. It doesn't get the file that was kept for the deleted node, unless both are the same
  /// file.
  [[nodiscard]] std::shared_ptr<OpenFile> find(const LiveNode& node, std::uint64_t changes, std::int64_t now) const
      PKGFS_EXCLUDES(mutex_);
  /// Keeps the file of `node`, unless there are too many. `changes` is the number from before the file was opened,
  /// `open` the number of live files that programs have open. If programs need the descriptors, closes all kept files.
  /// Returns whether this is the only kept file. Throws std::bad_alloc.
  [[nodiscard]] bool keep(const LiveNode& node, std::uint64_t changes, std::int64_t now, std::shared_ptr<OpenFile> file,
                          std::size_t open) PKGFS_EXCLUDES(mutex_);
  /// Closes the files that `find` wouldn't return. Returns whether others are left.
  [[nodiscard]] bool end_old(std::uint64_t changes, std::int64_t now) noexcept PKGFS_EXCLUDES(mutex_);

 private:
  struct Kept {
    std::shared_ptr<OpenFile> file;
    std::uint64_t number = 0;  // these two of the node
    std::uint64_t generation = 0;
    std::uint64_t changes = 0;
    std::int64_t since = 0;

    [[nodiscard]] bool is_usable(std::uint64_t reported, std::int64_t now) const {
      return changes == reported && now - since <= kSeconds;
    }
  };

  std::size_t most_;
  mutable Mutex mutex_;
  std::unordered_map<Inode, Kept> files_ PKGFS_GUARDED_BY(mutex_);
};

}  // namespace pkgfs::vfs
