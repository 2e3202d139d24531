// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "core/base/cancel.h"

namespace pkgfs {

/// How often, and how patiently, something is tried again that may be.
struct RetryPolicy {
  int attempts = 4;  // the first included
  std::chrono::milliseconds first_pause{200};
  /// How long all waits that the server asks for (`Retry-After`) may take together: a registry answers so while it is
  /// still making a container (docs/rules/loading.md, 1.3). Zero: don't wait.
  std::chrono::seconds server_wait{60};
};

/// The pauses of one operation: they double each time, less up to half by chance, so that many clients don't come back
/// together.
class Backoff {
 public:
  Backoff(const RetryPolicy& policy, const CancelFlag& cancel) : policy_(policy), cancel_(cancel) {}

  /// Waits before the next attempt; false if there is to be none. `what` is for the log. Throws Error(kInterrupted).
  [[nodiscard]] bool again(const std::string& what) { return again(what, 1); }
  /// The same after somebody was silent for too long. That counts twice: who waited for it won't wait as often.
  [[nodiscard]] bool again_after_timeout(const std::string& what) { return again(what, 2); }
  /// The same after a server said when to come back.
  [[nodiscard]] bool again_after(std::chrono::seconds retry_after, const std::string& what);
  /// Something was achieved, so the count starts anew.
  void reset() { failed_ = 0; }

 private:
  [[nodiscard]] bool again(const std::string& what, int failures);
  void wait(std::chrono::milliseconds pause, const std::string& what);

  RetryPolicy policy_;
  const CancelFlag& cancel_;
  int failed_ = 0;
  std::chrono::seconds waited_{0};
};

}  // namespace pkgfs
