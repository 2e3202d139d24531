// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "daemon/cli/run_report.h"

namespace pkgfs {

/// How a `pkgfs` process that this one started has ended.
struct CommandResult {
  RunReport report;    // its log messages; its error, which is there exactly when it failed
  std::string output;  // what it wrote to standard error, for people: at most 64 KiB
};

/// What happens to the started process when this one ends before it.
enum class IfWeDie {
  kEndsToo,  // the kernel sends it SIGTERM
  kGoesOn,   // because it would leave its work half done
};

/// Runs `pkgfs ARGUMENTS...` in `directory` and waits for its end. It is this very executable, even if its file has
/// been replaced meanwhile. The process has a process group of its own and this process's environment, but neither its
/// file descriptors nor its blocked signals.
///
/// When `cancel` is set, the process gets SIGTERM, later SIGKILL, and this throws Error(kInterrupted). Throws Error if
/// the process can't be started. Thread-safe. With kEndsToo, the calling thread must live as long as the process: the
/// kernel watches the thread that forked.
[[nodiscard]] CommandResult run_own_command(const std::vector<std::string>& arguments, const std::string& directory,
                                            IfWeDie if_we_die, const CancelFlag& cancel);

}  // namespace pkgfs
