// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "core/base/cancel.h"

namespace pkgfs {

/// How a run of this program by itself ended.
struct CommandResult {
  int exit_code = 0;    // of kInternal when a signal ended it
  std::string problem;  // its error, without "pkgfs: error:", the causes after it; empty on success
  std::string remarks;  // what else it wrote to standard error, whole lines
};

enum class IfWeDie {
  kEndsToo,  // by SIGTERM
  kGoesOn,   // what it does would be half done
};

/// Runs `pkgfs ARGUMENTS...`, this very executable even if the file has been replaced, as a process group of its own
/// with nothing of ours but the environment: no descriptors, no blocked signals, an empty working directory.
/// Waits for its end. Cancelled: ended by SIGTERM, and after its time to clean up by SIGKILL; Error(kInterrupted).
/// May be called by several threads; the calling one must live as long as the process with kEndsToo.
[[nodiscard]] CommandResult run_own_command(const std::vector<std::string>& arguments, const std::string& directory,
                                            IfWeDie if_we_die, const CancelFlag& cancel);

}  // namespace pkgfs
