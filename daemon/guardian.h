// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <string>

namespace pkgfs {

/// A child process that sees to it that a killed daemon takes nobody with it.
///
/// A thread that puts contents into the kernel's page cache (fuse::ContentPusher) may be waiting there for a page that
/// one of the daemon's other threads was about to fill. When all of them are killed (kill -9, the kernel's OOM killer,
/// a crash), that thread can't end, so that the device stays open, and everybody who uses the mount hangs with it. The
/// guardian is told by the kernel when the daemon's main thread ends; unless the whole process is gone a moment later,
/// it aborts the FUSE connection: readers get ENOTCONN, as of any mount whose daemon died.
///
/// It sleeps, shares the daemon's memory (fork), has no descriptor but the two that it needs, takes no signals, and
/// ends with the daemon. ps(1) calls it "pkgfs: guards PID".
class Guardian {
 public:
  Guardian() = default;
  /// Ends the child.
  ~Guardian();
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  /// Starts it for the FUSE connection of that number, "53". To be called by the main thread. Returns why that isn't
  /// possible, or nothing: who may not abort connections (fusectl) can't be guarded.
  [[nodiscard]] std::string start(const std::string& connection);

 private:
  pid_t child_ = -1;
};

}  // namespace pkgfs
