// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "daemon/cli/io.h"

namespace pkgfs::csi {

/// Runs the driver until SIGTERM or SIGINT. `arguments` are those of main() without the program's name. Reports errors
/// on `io.err`. Returns an exit code of pkgfs (exit_code.h).
[[nodiscard]] int run_driver(const std::vector<std::string>& arguments, const Io& io);

}  // namespace pkgfs::csi
