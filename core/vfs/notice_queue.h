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

/// An answer that the kernel must drop. With a `name`, it is the answer that directory `inode` has this entry, or that
/// it has none of this name. Without a name, it is the attributes and the content of `inode`.
struct Notice {
  Inode inode = 0;
  std::string name;
  /// True: the kernel doesn't drop the answer, but looks the name up again at the next access. If it then finds the
  /// same entry, the mounts below that entry stay. Needs a `name`.
  bool expire = false;
};

/// The notices that wait for the thread that tells the kernel of them. Thread-safe.
///
/// A notice needs memory, and adding it throws if there is none. A thread that must not fail after its reply calls
/// `prepare` before the reply. The next notice that it adds then has its memory.
class NoticeQueue {
 public:
  struct Item {
    LiveNode* node = nullptr;  // null: the notice is sent as it is
    Notice notice;
  };

  /// Takes memory for one item with a name of `name_bytes` bytes. The next function of this thread that adds an item
  /// uses that memory. Throws std::bad_alloc.
  static void prepare(std::size_t name_bytes);
  /// Without `prepare`, each of these may throw std::bad_alloc, and then has added nothing.
  void add(LiveNode& node) PKGFS_EXCLUDES(mutex_);
  void add(Notice notice) PKGFS_EXCLUDES(mutex_);
  /// Adds a notice, unless `most` notices that this function added are waiting already. Returns whether it was added.
  /// The notices of `add` don't count: however many there are, a later change still finds room.
  [[nodiscard]] bool add_below(std::size_t most, Inode inode, std::string_view name) PKGFS_EXCLUDES(mutex_);
  /// Removes and returns all.
  [[nodiscard]] std::list<Item> take() noexcept PKGFS_EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::list<Item> items_ PKGFS_GUARDED_BY(mutex_);
  std::size_t named_ PKGFS_GUARDED_BY(mutex_) = 0;  // items of `add_below`
};

}  // namespace pkgfs::vfs
