// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <functional>

#include "core/base/unique_fd.h"
#include "daemon/cli/io.h"

namespace pkgfs {

/// The daemon's line to the process that started it.
class Readiness {
 public:
  Readiness(UniqueFd pipe, bool has_session) : pipe_(std::move(pipe)), has_session_(has_session) {}

  /// Lets the starting process end with success, and leaves its terminal: standard input and output become /dev/null,
  /// the working directory "/", messages go to the system's log.
  void ready();

 private:
  UniqueFd pipe_;
  bool has_session_;
};

/// Whether the daemon leaves the process group of whoever started it at once, or when it is ready. automount(8) and
/// systemd let only their own group walk into a directory that they are about to mount: there it must stay.
enum class Leave { kAtOnce, kWhenReady };

/// Runs `daemon` in a child process that gets its own session, and returns in the parent once the child is ready (0) or
/// has failed (its exit code; its error is printed on `io.err`). The child ends with what `daemon` returns. Call before
/// any thread is started.
///
/// A child that says nothing for `limit` is ended, by SIGTERM and if need be by SIGKILL, and so is one that SIGINT,
/// SIGTERM or SIGHUP reach the parent before: Error(kMount) and Error(kInterrupted). `undo` is called then: it clears
/// away what a killed child may have left.
[[nodiscard]] int run_in_background(const Io& io, std::chrono::milliseconds limit, Leave leave,
                                    const std::function<int(Readiness&)>& daemon, const std::function<void()>& undo);

}  // namespace pkgfs
