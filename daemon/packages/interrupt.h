// SPDX-License-Identifier: MIT
#pragma once

#include <csignal>

#include "core/base/cancel.h"

namespace pkgfs {

/// While this object lives, SIGINT, SIGTERM and SIGHUP set a flag instead of ending the process. So a download can
/// clean up and throw Error(kInterrupted). The signal ends the process after all if the guard is still alive two
/// seconds later, or at a second signal. `throw_if_cancelled()` looks at the flag, in the guard's thread. While
/// one guard exists, others do only the last of that: a daemon may have one in each of several threads.
class InterruptGuard {
 public:
  /// `flag` must outlive this.
  explicit InterruptGuard(CancelFlag& flag);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  /// Until the guard's destructor, the limit of two seconds no longer holds, and only a second signal ends the process.
  /// For work that undoes changes or cleans up, which may take longer. Without a guard, has no effect.
  static void give_time();

 private:
  CancelScope scope_;
  bool is_first_;
  struct sigaction before_[4]{};  // NOLINT(modernize-avoid-c-arrays): as the kernel gives them
};

}  // namespace pkgfs
