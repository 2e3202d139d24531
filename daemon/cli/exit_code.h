// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string_view>

#include "core/base/error.h"

namespace pkgfs {

/// One row of the table of exit codes: what scripts may rely on. `pkgfs help exit-codes` prints it.
struct ExitCode {
  int number;
  std::string_view meaning;
};

inline constexpr int kExitOk = 0;

/// All exit codes, ascending.
[[nodiscard]] std::span<const ExitCode> exit_codes();

[[nodiscard]] int to_exit_code(ErrorCode code);

/// What mount(8) expects of its helpers, for an exit code of ours: 1 usage or permissions, 2 the system (memory, I/O),
/// 4 a bug, 8 interrupted, 32 anything else that kept the mount from being made.
[[nodiscard]] int to_mount_exit_code(int exit_code);

}  // namespace pkgfs
