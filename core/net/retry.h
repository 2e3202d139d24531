// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <string>

#include "core/base/cancel.h"

namespace pkgfs {

/// Says how often a client repeats a failed request, and how long it waits in between.
struct RetryPolicy {
  int attempts = 4;  // the first one included
  std::chrono::milliseconds first_pause{200};
  /// Limit for the sum of all waits that the server asks for with a Retry-After header. A registry does so while it is
  /// still building a container (docs/rules/loading.md, 1.3). Zero: never wait for the server.
  std::chrono::seconds server_wait{60};
};

/// The pauses between the attempts of one operation. Each pause is twice as long as the one before, and is shortened at
/// random by up to half. So many clients don't repeat their requests at the same moment. Not thread-safe.
class Backoff {
 public:
  /// `cancel` must outlive this.
  Backoff(const RetryPolicy& policy, const CancelFlag& cancel) : policy_(policy), cancel_(cancel) {}

  /// Waits before the next attempt, and returns true; returns false at once if no attempt is left. `what` names the
  /// operation in the log. Throws Error(kInterrupted) when cancelled.
  [[nodiscard]] bool again(const std::string& what) { return again(what, 1); }
  /// The same after a time-out. It counts as two failed attempts, because the attempt itself has taken long already.
  [[nodiscard]] bool again_after_timeout(const std::string& what) { return again(what, 2); }
  /// The same after a server asked for a pause of `retry_after`. Counts no attempt, but adds to the time that
  /// `RetryPolicy::server_wait` limits.
  [[nodiscard]] bool again_after(std::chrono::seconds retry_after, const std::string& what);
  /// Forgets all failed attempts. Call it after progress: for example, when a download has received bytes.
  void reset() { failed_ = 0; }

 private:
  [[nodiscard]] bool again(const std::string& what, int failures);
  void wait(std::chrono::milliseconds pause, const std::string& what);

  RetryPolicy policy_;
  const CancelFlag& cancel_;
  int failed_ = 0;
  std::chrono::seconds waited_{0};  // the sum of the pauses that the server asked for
};

}  // namespace pkgfs
