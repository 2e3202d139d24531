// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/base/unique_fd.h"

namespace pkgfs {

/// A child process that sees to it that a killed daemon takes nobody with it.
///
/// A thread that puts contents into the kernel's page cache (fuse::ContentPrefetcher) may be waiting there for a page
/// that one of the daemon's other threads was about to fill. When all of them are killed (kill -9, the kernel's OOM
/// killer, a crash), that thread can't end, so that the device stays open, and everybody who uses the mount hangs with
/// it. The guardian sees the daemon's main thread end, or is told of a crash; unless the whole process is gone a moment
/// later, it aborts the FUSE connection: readers get ENOTCONN, as of any mount whose daemon died.
///
/// It sleeps, shares the daemon's memory (fork), has a session of its own, no descriptors but those that it needs,
/// takes no signals, and ends with the daemon. ps(1) calls it "fuse-guardian of PID". Whoever kills it together with
/// the daemon (a whole control group) gets no help: `umount -f` has to do it then.
///
/// One a process, for the main thread.
class Guardian {
 public:
  Guardian() = default;
  /// Ends the child.
  ~Guardian();
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  /// Starts it for the FUSE connection of that number, "53", and waits until it is on guard. Returns why that isn't
  /// possible, or nothing: who may not abort connections (fusectl) can't be guarded.
  [[nodiscard]] std::string start(const std::string& connection);
  /// Becomes readable when the child has ended before its time; -1 without a child.
  [[nodiscard]] int ended_fd() const { return child_.get(); }

 private:
  UniqueFd child_;  // its pidfd
};

}  // namespace pkgfs
