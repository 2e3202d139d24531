// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <list>
#include <string>
#include <string_view>

#include "core/base/thread_annotations.h"
#include "core/vfs/file_system.h"

namespace pkgfs::vfs {

struct LiveNode;

/// What a cache above must drop. With a name: what it knows of the entry `name` of directory `inode`, also that there
/// is none. Without: the attributes and the content of `inode`.
struct Notice {
  Inode inode = 0;
  std::string name;
  /// Only the time ends for which the entry may be kept: it is looked up anew, and what is mounted below it stays if it
  /// is still the same.
  bool expire = false;
};

/// The notices that wait for the thread that tells the kernel of them. Thread-safe.
///
/// A notice needs memory. A thread that can't bear to have none takes it by `prepare`, before a reply; `add` after the
/// reply then doesn't fail.
class NoticeQueue {
 public:
  struct Item {
    LiveNode* node = nullptr;  // null: the notice is sent as it is
    Notice notice;
  };

  /// Takes memory for one item with a name of so many bytes. The next `add` of this thread uses it. Throws
  /// std::bad_alloc.
  static void prepare(std::size_t name_bytes);
  /// Without `prepare`, each of these may throw std::bad_alloc, and then has added nothing.
  void add(LiveNode& node) PKGFS_EXCLUDES(mutex_);
  void add(Notice notice) PKGFS_EXCLUDES(mutex_);
  /// False: `most` notices that this function added are waiting already. Nothing was added. The notices of `add` don't
  /// count: however many there are, a later change still finds room.
  [[nodiscard]] bool add_below(std::size_t most, Inode inode, std::string_view name) PKGFS_EXCLUDES(mutex_);
  /// Removes and returns all.
  [[nodiscard]] std::list<Item> take() noexcept PKGFS_EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::list<Item> items_ PKGFS_GUARDED_BY(mutex_);
  std::size_t named_ PKGFS_GUARDED_BY(mutex_) = 0;  // items of `add_below`
};

}  // namespace pkgfs::vfs
