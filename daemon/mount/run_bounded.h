// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

namespace pkgfs {

/// Runs `body(0)` to `body(count - 1)`, each in a child process, all at once, and returns what they returned (0 to
/// 254); nothing for one that didn't end within `limit`, which is for all together. For whatever may hang in the kernel
/// for ever, as any look at a mount may: such a child is left behind and ends when the kernel lets it go. Children have
/// no open files and may do only what is allowed between a fork and an exec. What they share with their parent must be
/// mapped as shared. Throws Error if a child can't be started.
[[nodiscard]] std::vector<std::optional<int>> run_bounded(std::size_t count,
                                                          const std::function<int(std::size_t)>& body,
                                                          std::chrono::milliseconds limit);

}  // namespace pkgfs
