// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>

#include "core/base/cancel.h"

namespace pkgfs {

/// Calls `work(i, cancel)` for every i below `count`, on up to `threads` threads of its own that end before this
/// returns. The first failure sets the `cancel` that the others see (for a full disk, with that reason) and keeps new
/// ones from being started; afterwards the failure of the lowest i that wasn't just interrupted is thrown. `outer`
/// cancels everything.
void for_each_in_parallel(std::size_t count, std::size_t threads, const CancelFlag& outer,
                          const std::function<void(std::size_t i, const CancelFlag& cancel)>& work);

}  // namespace pkgfs
