// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <thread>

#include "core/base/unique_fd.h"
#include "core/vfs/file_system.h"
#include "core/vfs/live_changes.h"
#include "fuse/statistics.h"

struct fuse_session;

namespace pkgfs::fuse {

/// Tells the kernel what changed in live directories (FUSE_NOTIFY_INVAL_ENTRY and _INODE), so that it can keep names
/// and attributes until then.
///
/// This has a thread of its own, which answers no requests: the kernel makes it wait for locks that it holds while
/// requests are being answered. The thread wakes up before other work of the machine, where it may, with a bound on the
/// processor time that it takes so (WakeUpFirst). Between an edit on the host and its notice, programs may still see
/// what the kernel has cached.
class ChangeNotifier {
 public:
  /// Both must outlive it; `fs` has changes.
  ChangeNotifier(vfs::FileSystem& fs, Statistics& statistics);
  /// Ends the thread. If that takes more than some seconds, ends the process.
  ~ChangeNotifier();
  ChangeNotifier(const ChangeNotifier&) = delete;
  ChangeNotifier& operator=(const ChangeNotifier&) = delete;

  /// Begins to watch, and to tell the kernel of this mounted session, which must outlive the thread. `can_expire`
  /// is the kernel's (Adapter). Once. Throws std::system_error if there is no thread or no inotify.
  void start(fuse_session* session, bool can_expire);
  /// Ends the thread; call it while requests are still answered. False: it didn't end within `limit`.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

 private:
  void run(fuse_session* session, int queue);
  void send(fuse_session* session, const vfs::Notice& notice);

  vfs::FileSystem& fs_;
  vfs::LiveChanges& changes_;
  Statistics& statistics_;
  UniqueFd wake_;  // an eventfd
  bool can_expire_ = false;
  std::atomic<bool> stopping_{false};
  std::promise<void> done_;
  std::future<void> ended_;
  std::thread thread_;
};

}  // namespace pkgfs::fuse
