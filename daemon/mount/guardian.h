// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "core/base/unique_fd.h"
#include "daemon/mount/crash_reports.h"
#include "daemon/mount/guarding.h"

namespace pkgfs {

/// A child process of the daemon that aborts the FUSE connection when the daemon is killed and can't end. It is needed
/// while fuse::ContentPrefetcher prefetches files, or fuse::ChangeNotifier tells the kernel of changes.
///
/// Their threads write into the kernel's page cache, or drop parts of it. There the kernel may make a thread wait for a
/// page that another thread of the daemon was about to fill. If a signal kills the daemon at that moment (kill -9, the
/// kernel's out-of-memory killer, a crash), the waiting thread never ends. So the device stays open, and every process
/// that uses the mount hangs.
///
/// The guardian waits until the daemon's main thread ends, or until the daemon tells it of a crash. If the daemon's
/// process still exists a moment later, the guardian aborts the connection. Readers then get ENOTCONN, as from any
/// mount whose daemon has ended. If the whole control group is killed at once, the guardian dies, too: unmount with
/// `umount -f` then.
///
/// The guardian sleeps, and costs little memory: as a fork, it shares each page with the daemon until one of them
/// writes to it. It has its own session, keeps only the file descriptors that it needs, ignores signals, and ends with
/// the daemon. ps(1) shows it as "fuse-guardian of PID".
///
/// A process has at most one. Only the main thread may use it.
class Guardian final : public MountGuard {
 public:
  Guardian() = default;
  /// Ends the child process. Waits a second for that, at most.
  ~Guardian() override;
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  /// Starts the child process for the FUSE connection with the number `connection` ("53"), and returns when it watches
  /// the daemon. Returns an empty text, or the reason why there is no guardian: for example, because this process may
  /// not abort connections. From then on, a signal handler of the daemon tells the guardian of a crash. A signal for
  /// which the daemon already has a handler keeps that handler.
  [[nodiscard]] std::string start(const std::string& connection);
  [[nodiscard]] const char* name() const override { return "guardian"; }
  /// A process that is killed again and again isn't replaced more than five times within a minute.
  [[nodiscard]] std::string replace() override;
  [[nodiscard]] int ended_fd() const override { return child_.get(); }
  /// Ends the child process, if it still runs, and forgets it.
  void end();

 private:
  UniqueFd child_;  // its pidfd
  pid_t child_id_ = 0;
  CrashReports crashes_;
  std::string connection_;
  int replaced_ = 0;  // since `counted_since_`
  std::chrono::steady_clock::time_point counted_since_;
};

}  // namespace pkgfs
