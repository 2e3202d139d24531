// SPDX-License-Identifier: MIT
#pragma once

#include <csignal>

#include "core/base/cancel.h"

namespace pkgfs {

/// While it lives, SIGINT, SIGTERM and SIGHUP set a flag instead of ending the process, so that what is going on can
/// clean up and end with Error(kInterrupted). Whoever doesn't look at the flag for two seconds, and at a second signal
/// at once, is ended by the signal after all. One at a time.
class InterruptGuard {
 public:
  /// `flag` must outlive this.
  explicit InterruptGuard(CancelFlag& flag);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  struct sigaction before_[4]{};  // NOLINT(modernize-avoid-c-arrays): as the kernel gives them
};

}  // namespace pkgfs
