// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/vfs/file_system.h"

namespace pkgfs::fuse {

/// Live files that were opened when a thread looked their names up, for the request that follows the look-up.
/// Thread-safe.
///
/// After ESTALE the kernel looks a path up anew, but only once. If the file were replaced again between that look-up
/// and the open, the program would see ESTALE. So the look-up of a thread that was sent back opens the file at once,
/// and the open takes it over. The kernel may never send that open. So the next request that opens or closes a live
/// file ends the pins that are older than two seconds. There are at most 64 pins.
class PinnedFiles {
 public:
  /// `fs` must outlive this.
  explicit PinnedFiles(vfs::FileSystem& fs) : fs_(fs) {}

  /// Keeps `file` for `thread`, in place of what was kept for it. 0 stands for all threads that the daemon can't tell
  /// apart; it may have several pins. Takes over a reference to `node`, so that no other entry gets its inode.
  void pin(pid_t thread, vfs::Inode node, std::shared_ptr<vfs::OpenFile> file) PKGFS_EXCLUDES(mutex_);
  /// The file that is kept for the thread and the node; null: none is.
  [[nodiscard]] std::shared_ptr<vfs::OpenFile> find(pid_t thread, vfs::Inode node) PKGFS_EXCLUDES(mutex_);
  /// The same, and ends the pin.
  [[nodiscard]] std::shared_ptr<vfs::OpenFile> take(pid_t thread, vfs::Inode node) PKGFS_EXCLUDES(mutex_);
  /// Ends the pins that no open has taken in time. Costs nothing if there are none.
  void end_old() PKGFS_EXCLUDES(mutex_);

 private:
  struct Pin {
    pid_t thread = 0;
    vfs::Inode node = 0;
    std::shared_ptr<vfs::OpenFile> file;
    std::int64_t since = 0;  // seconds
  };
  using Pins = std::vector<Pin>;

  [[nodiscard]] Pins::iterator at(pid_t thread, vfs::Inode node) PKGFS_REQUIRES(mutex_);
  void drop(const Pins& ended) PKGFS_EXCLUDES(mutex_);

  vfs::FileSystem& fs_;
  std::atomic<std::size_t> count_{0};  // of `pins_`
  Mutex mutex_;
  Pins pins_ PKGFS_GUARDED_BY(mutex_);  // the oldest first
};

}  // namespace pkgfs::fuse
