// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace pkgfs {

/// How long a command of --on-change may run.
inline constexpr std::chrono::seconds kOnChangeLimit{60};

/// Runs `command` by `/bin/sh -c`, with the environment of this process and `variables`, as the user of this process.
/// Its working directory is "/", and its standard streams are those of this process. Waits until it has ended; after
/// `limit`, or when `stop_fd` becomes readable, kills its process group. Returns an empty text if it succeeded, or what
/// went wrong. Any thread may call it.
[[nodiscard]] std::string run_on_change(const std::string& command,
                                        const std::vector<std::pair<std::string, std::string>>& variables,
                                        std::chrono::milliseconds limit, int stop_fd);

}  // namespace pkgfs
