// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>

#include "core/base/cancel.h"

namespace pkgfs {

/// Calls `work(i, cancel)` for every i below `count`, on up to `threads` threads, which end before this returns.
/// The first failure cancels the other calls through `cancel` (with `cancel_for_room()` for a full disk) and no new
/// call starts. Then the failure of the lowest i is thrown; one that only reports the cancellation is thrown if there
/// is no other. `outer` cancels all calls.
void for_each_in_parallel(std::size_t count, std::size_t threads, const CancelFlag& outer,
                          const std::function<void(std::size_t i, const CancelFlag& cancel)>& work);

}  // namespace pkgfs
