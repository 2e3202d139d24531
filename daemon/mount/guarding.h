// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "core/base/unique_fd.h"

namespace pkgfs {

/// A child process of the daemon that acts when the daemon is killed: a Guardian or a Keeper. Only the main thread may
/// use it.
class MountGuard {
 public:
  using Time = std::chrono::steady_clock::time_point;

  MountGuard() = default;
  virtual ~MountGuard() = default;
  MountGuard(const MountGuard&) = delete;
  MountGuard& operator=(const MountGuard&) = delete;

  /// The word for it in messages.
  [[nodiscard]] virtual const char* name() const = 0;
  /// Starts another child process in place of the first, which may have ended, for example because it was killed.
  /// Returns an empty text, or the reason why there is none.
  [[nodiscard]] virtual std::string replace() = 0;
  /// Becomes readable when the child process has ended; -1 without a child process.
  [[nodiscard]] virtual int ended_fd() const = 0;
  /// When to call `improve`; Time::max(): never.
  [[nodiscard]] virtual Time next_improvement() const { return Time::max(); }
  /// Tries again to start the better kind of process, if only the other kind could be started.
  virtual void improve() {}
  /// Becomes readable when the mount is less safe than before, and `lost` is to be called; -1: nothing can be lost.
  [[nodiscard]] virtual int lost_fd() const { return -1; }
  virtual void lost() {}
};

// What such a process needs to watch a daemon.

/// The kernel's file that aborts the FUSE connection with the number `connection` ("53") when a process writes to it.
/// Invalid, with errno, if this process may not open it. `file_system`: if not null, may get a descriptor that isn't
/// needed any more. The kernel takes as long to close it as for some steps of a mount, so a caller may do that later.
[[nodiscard]] UniqueFd open_abort_file(const std::string& connection, UniqueFd* file_system = nullptr);
/// A pidfd. Invalid, with errno, if that isn't possible.
[[nodiscard]] UniqueFd open_process(pid_t process);
/// The file in /proc that shows the state of the main thread of `process`.
[[nodiscard]] UniqueFd open_main_thread(pid_t process);

/// Whether every thread of the process has stopped, or waits for a disk. A thread that still runs could take a request.
[[nodiscard]] bool has_stopped(pid_t process);

/// Warns that no other daemon can go on with the mount of this one, and says why.
void warn_not_kept(const std::string& why);

/// Sends a signal to the process of a pidfd. Does nothing if it has ended.
void signal_process(const UniqueFd& process, int signal);
/// Ends a child process of this process, and waits for that, but at most a second. `process` is its pidfd.
void end_child_process(int process, pid_t id);

}  // namespace pkgfs
