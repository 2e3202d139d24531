// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/read_section.h"
#include "core/base/thread_annotations.h"
#include "core/vfs/directory_table.h"
#include "core/vfs/overlay_node.h"

namespace pkgfs::vfs {

/// The merged directories of an OverlayFileSystem, within a budget of memory. If they outgrow the budget, the cache
/// evicts directories that were unused for long. It chooses them by the "clock" algorithm: a hand goes around and
/// evicts each directory that wasn't used since the hand's last visit. Thread-safe.
///
/// `find` takes no lock and allocates nothing. Its caller must be in a ReadSection; the result isn't freed before that
/// section ends. The directory that was added last stays, even if it is larger than the budget.
class DirectoryCache {
 public:
  /// `budget`: in bytes.
  explicit DirectoryCache(std::size_t budget);

  /// The entries of the directory `number`; null if it isn't merged.
  [[nodiscard]] const OverlayContent* find(std::uint64_t number) const {
    const OverlayContent* const content = table_.find(number);
    if (content != nullptr && !content->used.load(std::memory_order_relaxed)) {
      content->used.store(true, std::memory_order_relaxed);
    }
    return content;
  }
  /// The inode of the directory `number`, if it was evicted; 0: not known.
  [[nodiscard]] Inode evicted(std::uint64_t number) const { return table_.evicted(number); }
  /// Adds a directory that isn't here, and evicts others. The result is valid like that of `find`.
  const OverlayContent* add(std::unique_ptr<OverlayContent> content);
  /// Adds a directory that the caller owns. It is never evicted.
  void pin(const OverlayContent& content);
  /// About how many bytes the directories take now, without those that the caller owns.
  [[nodiscard]] std::size_t bytes() const;

 private:
  /// Evicts directories, but not `added`.
  void sweep(const OverlayContent& added) PKGFS_REQUIRES(mutex_);

  const std::size_t budget_;
  mutable Mutex mutex_;  // guards every change
  std::vector<std::unique_ptr<OverlayContent>> all_ PKGFS_GUARDED_BY(mutex_);
  std::size_t hand_ PKGFS_GUARDED_BY(mutex_) = 0;  // in `all_`
  std::size_t bytes_ PKGFS_GUARDED_BY(mutex_) = 0;
  RetiredMemory retired_ PKGFS_GUARDED_BY(mutex_);
  DirectoryTable table_;
};

}  // namespace pkgfs::vfs
