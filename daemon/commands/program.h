// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "daemon/cli/io.h"

namespace pkgfs {

/// Runs the whole program. `arguments` are those of main(), with the program name first. Returns the exit code
/// (exit_code.h).
[[nodiscard]] int run_program(const std::vector<std::string>& arguments, const Io& io);

}  // namespace pkgfs
