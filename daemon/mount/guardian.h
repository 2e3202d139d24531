// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/base/unique_fd.h"

namespace pkgfs {

/// A child process of the daemon that aborts the FUSE connection when the daemon is killed and can't end. It is needed
/// while fuse::ContentPrefetcher prefetches files.
///
/// The prefetching thread writes into the kernel's page cache. There the kernel may make it wait for a page that
/// another thread of the daemon was about to fill. If a signal kills the daemon then (kill -9, the kernel's
/// out-of-memory killer, a crash), that thread never ends. So the device stays open, and every process that uses the
/// mount hangs.
///
/// The guardian waits until the daemon's main thread ends, or until the daemon tells it of a crash. If the whole
/// process is not gone a moment later, it aborts the connection: readers get ENOTCONN, as of any mount whose daemon has
/// ended. If the whole control group is killed at once, the guardian dies, too: unmount with `umount -f` then.
///
/// The guardian sleeps and shares the daemon's memory (fork). It has its own session, keeps no file descriptors but
/// those that it needs, ignores signals, and ends with the daemon. ps(1) shows it as "fuse-guardian of PID".
///
/// A process has at most one. Only the main thread may use it.
class Guardian {
 public:
  Guardian() = default;
  /// Ends the child process.
  ~Guardian();
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  /// Starts the child process for the FUSE connection of that number ("53"), and returns when it is on guard. Returns
  /// an empty text, or why there is no guardian: this process may not abort connections, for example. From then on,
  /// signals that crash the process, and that it does not handle, are reported to the guardian first.
  [[nodiscard]] std::string start(const std::string& connection);
  /// Becomes readable when the child process has ended; -1 without a child process.
  [[nodiscard]] int ended_fd() const { return child_.get(); }

 private:
  UniqueFd child_;  // its pidfd
};

}  // namespace pkgfs
