// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <functional>
#include <utility>

#include "core/base/unique_fd.h"
#include "daemon/cli/io.h"

namespace pkgfs {

/// Through this, the daemon tells the process that started it that it is ready.
class Readiness {
 public:
  /// `pipe`: to that process. `has_session`: the daemon has its own session already. `io` must outlive this.
  Readiness(UniqueFd pipe, bool has_session, const Io& io)
      : pipe_(std::move(pipe)), has_session_(has_session), io_(io) {}

  /// Lets the starting process end with success, and detaches the daemon from its terminal. From then on, the daemon
  /// has its own session. Its standard streams are /dev/null, its working directory is "/", and its messages go to the
  /// system's log. It closes the descriptors that it inherited, such as a lock, or a pipe whose end another process
  /// waits for. Later calls do nothing.
  void ready();

 private:
  UniqueFd pipe_;
  bool has_session_;
  const Io& io_;
};

/// When the daemon leaves the process group of the process that started it. While automount(8) or systemd waits for a
/// mount, only its own process group can enter the directory. In that case, the daemon must stay in that group until it
/// is ready.
enum class Leave { kAtOnce, kWhenReady };

/// From the fork to the first reply of a mount. Packages are loaded before the fork.
inline constexpr auto kStartLimit = std::chrono::seconds(30);

/// Runs `daemon` in a child process. Returns in the parent: 0 once the child is ready, or the child's exit code. The
/// child reports an exception of `daemon` as its failure (run_report.h), and exits with what `daemon` returns. Call it
/// before any thread is started.
///
/// If the child is not ready within `limit`, throws Error(kMount). If SIGINT, SIGTERM or SIGHUP reaches the parent,
/// throws Error(kInterrupted). In both cases, the parent first ends the child (SIGTERM, then SIGKILL) and calls `undo`.
/// If a signal killed the child, the parent calls `undo` and throws Error(kInternal). `undo` must clear away what a
/// killed child may leave.
[[nodiscard]] int run_in_background(const Io& io, std::chrono::milliseconds limit, Leave leave,
                                    const std::function<int(Readiness&)>& daemon, const std::function<void()>& undo);

}  // namespace pkgfs
