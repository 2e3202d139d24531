// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <functional>

namespace pkgfs {

/// Passes a call of `task` to `post`, which lets another thread call it soon, or never. Waits until `task` has ended,
/// and throws what it has thrown: nothing reaches the other thread. Throws Error(kInterrupted) if `stopping` becomes
/// true before `task` has ended; then `task` isn't begun any more, but may still be running.
void call_elsewhere(const std::function<void(std::function<void()>)>& post, const std::function<void()>& task,
                    const std::atomic<bool>& stopping);

}  // namespace pkgfs
