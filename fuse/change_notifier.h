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
#include "fuse/adapter.h"
#include "fuse/statistics.h"
#include "fuse/wake_up_first.h"

struct fuse_session;

namespace pkgfs::fuse {

/// Tells the kernel of changes in live directories (FUSE_NOTIFY_INVAL_ENTRY and _INODE). So the kernel can keep names
/// and attributes until they change.
///
/// A thread of its own does this and answers no requests. The kernel may make that thread wait for a lock that the
/// kernel holds until a server thread has answered a request. If the daemon may use real-time priority (CAP_SYS_NICE),
/// the thread runs before other work when it wakes up. WakeUpFirst bounds the processor time that the thread uses with
/// this priority. Between an edit on the host and its notice, programs may still see what the kernel has cached.
class ChangeNotifier {
 public:
  /// All must outlive this. `fs.changes()` must not be null. `adapter` has the kernel's node ids.
  ChangeNotifier(vfs::FileSystem& fs, Statistics& statistics, Adapter& adapter);
  /// Ends the thread. If that takes more than some seconds, ends the process.
  ~ChangeNotifier();
  ChangeNotifier(const ChangeNotifier&) = delete;
  ChangeNotifier& operator=(const ChangeNotifier&) = delete;

  /// Begins to watch, and to tell the kernel of changes through `session`, which must be mounted and outlive the
  /// thread. `can_expire`: whether the kernel can expire an entry (`Adapter::can_expire`). Call it only once. Throws
  /// std::system_error if no thread can be started or inotify can't be used.
  void start(fuse_session* session, bool can_expire);
  /// Ends the thread; call it while requests are still answered. False: it didn't end within `limit`.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

 private:
  void run(fuse_session* session, int queue);
  void send(fuse_session* session, const vfs::Notice& notice);
  /// Tells the kernel that all that it knows from an earlier daemon may have changed.
  void send_restored(fuse_session* session, WakeUpFirst& first);

  vfs::FileSystem& fs_;
  vfs::LiveChanges& changes_;
  Statistics& statistics_;
  Adapter& adapter_;
  UniqueFd wake_;  // an eventfd
  bool can_expire_ = false;
  std::atomic<bool> stopping_{false};
  std::promise<void> done_;
  std::future<void> ended_;
  std::thread thread_;
};

}  // namespace pkgfs::fuse
