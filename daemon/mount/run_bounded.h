// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

namespace pkgfs {

/// Calls `body(0)` to `body(count - 1)`, each in a child process of its own, all at the same time. Returns their
/// results (0 to 254). The result is nothing for a child that a signal ended, or that did not end within `limit`.
/// `limit` is for all children together. Throws Error if a child can't be started, and Error(kInterrupted) if the
/// calling thread is cancelled (core/base/cancel.h).
///
/// Use it for calls that may block in the kernel for ever, as any access to a mount may. This process gives up on such
/// a child; the child ends when the kernel lets it go. A child has no open files, and may do only what is allowed
/// between fork() and exec(). To return more than its result, it writes to memory that is mapped as shared.
[[nodiscard]] std::vector<std::optional<int>> run_bounded(std::size_t count,
                                                          const std::function<int(std::size_t)>& body,
                                                          std::chrono::milliseconds limit);

}  // namespace pkgfs
