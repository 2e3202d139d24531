// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string_view>

#include "core/base/error.h"

namespace pkgfs {

/// One exit code. Scripts may rely on the numbers. `pkgfs help exit-codes` prints the table.
struct ExitCode {
  int number;
  std::string_view meaning;
};

inline constexpr int kExitOk = 0;
/// Of `pkgfs wait`. It is no failure, so no ErrorCode has it.
inline constexpr int kExitTimeOver = 12;

/// Of `pkgfs diff`, as of diff(1). ErrorCode::kIo is kExitTrouble there.
inline constexpr int kExitDifferent = 1;
inline constexpr int kExitTrouble = 2;

/// All exit codes, ascending.
[[nodiscard]] std::span<const ExitCode> exit_codes();

/// ErrorCode::kFull has the exit code of kIo. Every other ErrorCode has an exit code of its own.
[[nodiscard]] int to_exit_code(ErrorCode code);

/// Translates an exit code of pkgfs into the one that mount(8) expects of its helpers. 1: wrong usage or no permission.
/// 2: reading or writing failed. 4: a bug. 8: interrupted. 32: any other failure.
[[nodiscard]] int to_mount_exit_code(int exit_code);

}  // namespace pkgfs
