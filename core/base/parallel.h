// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>

#include "core/base/cancel.h"

namespace pkgfs {

/// Calls `work(i, cancel)` for every i below `count`, in this thread and in up to `threads` - 1 others, which end
/// before this returns. Each thread has a CancelScope for `cancel`. The first failure cancels the other calls through
/// `cancel`, and no new call starts. If the disk is full, it does so with `cancel_for_room()`. `outer` also cancels all
/// calls.
///
/// Afterwards, throws the failure with the lowest i that isn't Error(kInterrupted). If there is none, but a call was
/// interrupted or `outer` is cancelled, throws Error(kInterrupted).
void for_each_in_parallel(std::size_t count, std::size_t threads, const CancelFlag& outer,
                          const std::function<void(std::size_t i, const CancelFlag& cancel)>& work);

}  // namespace pkgfs
