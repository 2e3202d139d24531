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

}  // namespace pkgfs
