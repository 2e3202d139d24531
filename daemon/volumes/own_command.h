// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <semaphore>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/unique_fd.h"
#include "daemon/cli/run_report.h"

namespace pkgfs {

/// The result of a `pkgfs` process that this process started.
struct CommandResult {
  RunReport report;    // its log messages, and its error if it failed
  std::string output;  // what it wrote to standard error, for people: at most 64 KiB
};

/// What happens to the started process if this process ends before it.
enum class IfWeDie {
  kEndsToo,  // the kernel sends it SIGTERM
  kGoesOn,   // it continues, because otherwise it would leave its work half done
};

/// Which executable `run_own_command` starts, and where.
struct OwnProgram {
  /// By default the executable of this process, even if its file has been replaced meanwhile.
  std::string path = "/proc/self/exe";
  /// For each cgroup hierarchy, the file `cgroup.procs` of the cgroup into which a process with kGoesOn moves. Without
  /// them it stays in the cgroup of this process, and ends with it if a container engine ends that cgroup.
  std::vector<std::string> cgroups;
  /// The network namespace in which the processes run; null: that of this process. A container's network ends with the
  /// container, but a mount goes on fetching.
  std::shared_ptr<const UniqueFd> network;
  /// A place for each process with kEndsToo that may run at the same time, because these count against the memory of
  /// this process's cgroup. Null: as many as asked for.
  std::shared_ptr<std::counting_semaphore<>> places;
};

/// Runs `pkgfs ARGUMENTS...` in `directory` and waits for its end. The started process has its own process group. It
/// inherits the environment of this process, but neither file descriptors nor blocked signals. `variables` are added to
/// its environment, each as "NAME=value", and replace variables of the same name: secrets belong there, because other
/// users can read a command line, but not the environment of a process.
///
/// With kEndsToo, first waits for a place among `program.places`. When `cancel` is set, sends SIGTERM to the process,
/// later SIGKILL, and throws Error(kInterrupted). Throws Error if the process can't be started. Thread-safe. With
/// kEndsToo, the calling thread must live as long as the process, because the kernel watches the thread that forked.
[[nodiscard]] CommandResult run_own_command(const std::vector<std::string>& arguments, const std::string& directory,
                                            IfWeDie if_we_die, const CancelFlag& cancel, const OwnProgram& program = {},
                                            const std::vector<std::string>& variables = {});

}  // namespace pkgfs
