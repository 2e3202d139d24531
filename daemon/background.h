// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <functional>

#include "core/base/unique_fd.h"
#include "daemon/program.h"

namespace pkgfs {

/// The daemon's line to the process that started it.
class Readiness {
 public:
  explicit Readiness(UniqueFd pipe) : pipe_(std::move(pipe)) {}

  /// Lets the starting process end with success, and leaves its terminal: standard input and output become /dev/null,
  /// the working directory "/", messages go to the system's log.
  void ready();

 private:
  UniqueFd pipe_;
};

/// Runs `daemon` in a child process that has its own session, and returns in the parent once the child is ready (0) or
/// has failed (its exit code; its error is printed on `io.err`). The child ends with what `daemon` returns. Call before
/// any thread is started.
///
/// A child that says nothing for `limit` is ended, by SIGTERM and if need be by SIGKILL, and so is one that SIGINT,
/// SIGTERM or SIGHUP reach the parent before: Error(kMount) and Error(kInterrupted). `undo` is called then: it clears
/// away what a killed child may have left.
[[nodiscard]] int run_in_background(const Io& io, std::chrono::milliseconds limit,
                                    const std::function<int(Readiness&)>& daemon, const std::function<void()>& undo);

}  // namespace pkgfs
