// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "daemon/mount/guardian.h"
#include "daemon/mount/mount_table.h"
#include "daemon/mount/service_manager.h"
#include "daemon/mount/signal_fd.h"
#include "fuse/session.h"

namespace pkgfs {

/// The work of the daemon's main thread while a mount is served. It waits for signals, for the end of the mount and for
/// the end of the guardian. It tells the service manager's watchdog that the mount answers. SIGUSR2 switches debug
/// messages on and off. Not thread-safe.
class MountWatch {
 public:
  /// Blocks SIGTERM, SIGINT, SIGHUP and SIGUSR2 in this thread and in those that it starts later. Throws Error.
  MountWatch();

  /// Answers the kernel's first request. False: a signal asked the daemon to stop before that request came. Throws
  /// Error(kMount) if it does not come in time.
  [[nodiscard]] bool wait_until_ready(fuse::Session& session, const std::string& mountpoint);
  /// Returns 0 when the mount has ended, or the number of the signal that asked the daemon to stop. Replaces a guardian
  /// that ends meanwhile. Throws Error.
  [[nodiscard]] int wait_for_end(fuse::Session& session, const fuse::MountSettings& settings, ServiceManager& manager,
                                 Guardian& guardian);
  /// Calls `task` once, from `wait_for_end`, when `fd` is readable. `fd` must stay open until then.
  void call_when_readable(int fd, std::function<void()> task) {
    task_fd_ = fd;
    task_ = std::move(task);
  }
  /// Gives the signals back the effect that they had before the constructor.
  void restore_signals() { signals_.restore(); }

 private:
  /// Why `wait` returned.
  enum class Event { kSignal, kFirst, kSecond, kTimeout };
  [[nodiscard]] Event wait(int first, int second, std::optional<std::chrono::milliseconds> limit);

  /// If no other guardian can be started, ends the prefetching of files, and returns false. Notices of changes go on:
  /// without them, the kernel would show old content.
  [[nodiscard]] static bool replace_guardian(fuse::Session& session, const fuse::MountSettings& settings,
                                             Guardian& guardian);

  SignalFd signals_;
  int signal_ = 0;  // the one of the last kSignal
  int task_fd_ = -1;
  std::function<void()> task_;
};

/// The mount that `settings` describe, unless another mount covers it.
[[nodiscard]] std::optional<MountEntry> find_own_mount(const fuse::MountSettings& settings);

}  // namespace pkgfs
