// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/base/unique_fd.h"
#include "daemon/mount/guarding.h"
#include "daemon/mount/mount_table.h"
#include "daemon/mount/service_manager.h"
#include "daemon/mount/signal_fd.h"
#include "fuse/session.h"

namespace pkgfs {

/// The work of the daemon's main thread while a mount is served. It waits for signals, for the end of the mount and for
/// the end of the process that guards the mount. It tells the service manager's watchdog that the mount answers.
/// SIGUSR2 switches debug messages on and off. Not thread-safe.
class MountWatch {
 public:
  /// Blocks SIGTERM, SIGINT, SIGHUP and SIGUSR2 in this thread and in those that it starts later. Throws Error.
  MountWatch();

  /// Answers the kernel's first request. False: a signal asked the daemon to stop before that request came. Throws
  /// Error(kMount) if it does not come in time.
  [[nodiscard]] bool wait_until_ready(fuse::Session& session, const std::string& mountpoint);
  /// Returns 0 when the mount has ended, or the number of the signal that asked the daemon to stop. Replaces the
  /// process that guards the mount if it ends meanwhile. Throws Error.
  [[nodiscard]] int wait_for_end(fuse::Session& session, const fuse::MountSettings& settings, ServiceManager& manager,
                                 MountGuard& guard);
  /// Calls `task` once, from `wait_for_end`, when `fd` is readable. `fd` must stay open until then.
  void call_when_readable(int fd, std::function<void()> task) { tasks_.push_back({fd, std::move(task)}); }
  /// Undoes `call_when_readable`, if the task wasn't called yet. Only for tasks of `wait_for_end`.
  void forget(int fd) {
    std::erase_if(tasks_, [fd](const Task& task) { return task.fd == fd; });
  }
  /// Calls `task` from `wait_for_end`, soon. If the mount ends before, never. Any thread may call it.
  void post(std::function<void()> task) PKGFS_EXCLUDES(posted_mutex_);
  /// Gives the signals back the effect that they had before the constructor.
  void restore_signals() { signals_.restore(); }

 private:
  /// Why `wait` returned.
  enum class Event { kSignal, kFirst, kSecond, kThird, kTask, kTimeout };
  void run_posted() PKGFS_EXCLUDES(posted_mutex_);
  [[nodiscard]] Event wait(int first, int second, int third, std::optional<std::chrono::milliseconds> limit);

  /// If no other process can be started, ends the prefetching of files, and returns false. Notices of changes go on:
  /// without them, the kernel would show old content.
  [[nodiscard]] static bool replace_guard(fuse::Session& session, const fuse::MountSettings& settings,
                                          MountGuard& guard);

  SignalFd signals_;
  int signal_ = 0;  // the one of the last kSignal
  struct Task {
    int fd;
    std::function<void()> run;
  };
  std::vector<Task> tasks_;
  UniqueFd wake_;  // an eventfd: something was posted
  Mutex posted_mutex_;
  std::vector<std::function<void()>> posted_ PKGFS_GUARDED_BY(posted_mutex_);
};

/// The mount that `settings` describe, unless another mount covers it.
[[nodiscard]] std::optional<MountEntry> find_own_mount(const fuse::MountSettings& settings);

}  // namespace pkgfs
