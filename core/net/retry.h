// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "core/base/cancel.h"

namespace pkgfs {

class HttpError;

/// Says how often a client repeats a failed request, and how long it waits in between.
struct RetryPolicy {
  int attempts = 4;  // the first one included
  std::chrono::milliseconds first_pause{200};
  /// Limit for the sum of all waits that the server asks for with a Retry-After header. A registry does so while it is
  /// still building a container (docs/rules/loading.md, 1.3). Zero: never wait for the server.
  std::chrono::seconds server_wait{60};
  /// Limit for the time of all attempts that timed out. The client repeats one only if another time-out of the same
  /// length stays within the limit.
  std::chrono::milliseconds silence{30'000};
};

/// The pauses between the attempts of one operation. The first pause is `first_pause`. Each further failure doubles the
/// pause, until it is 64 times as long. A time-out counts as two failures. Each pause is shortened at random by up to
/// half, so that many clients don't repeat their requests at the same moment. Not thread-safe.
class Backoff {
 public:
  using Clock = std::chrono::steady_clock;

  /// `cancel` must outlive this. No attempt begins after `deadline`.
  Backoff(const RetryPolicy& policy, const CancelFlag& cancel, std::optional<Clock::time_point> deadline = std::nullopt)
      : policy_(policy), cancel_(cancel), deadline_(deadline) {}

  /// Waits before the next attempt, and returns true; returns false at once if no attempt is left. `what` names the
  /// operation in the log. Throws Error(kInterrupted) when cancelled.
  [[nodiscard]] bool again(const std::string& what) { return again(what, 1); }
  /// The same after an attempt that timed out and lasted for the time `took`. It counts as two failed attempts, because
  /// it took long. Also returns false if RetryPolicy::silence leaves no time for another such attempt.
  [[nodiscard]] bool again_after_timeout(std::chrono::milliseconds took, const std::string& what);
  /// For an attempt that began at `begun` and failed with the transient `error`: calls `again_after_timeout` if that is
  /// a time-out, else `again`.
  [[nodiscard]] bool again_after(const HttpError& error, Clock::time_point begun, const std::string& what);
  /// The same as `again`, but waits for the time `retry_after`, for which the server asked. This counts as no failed
  /// attempt, but RetryPolicy::server_wait limits the sum of these pauses.
  [[nodiscard]] bool again_after(std::chrono::seconds retry_after, const std::string& what);
  /// Forgets all failed attempts. Call it after progress: for example, when a download has received bytes.
  void reset();
  /// The number of attempts that were begun, the first one included.
  [[nodiscard]] int attempts() const { return attempts_; }

 private:
  [[nodiscard]] bool again(const std::string& what, int failures);
  /// False if the deadline comes first.
  [[nodiscard]] bool wait(std::chrono::milliseconds pause, const std::string& what);

  RetryPolicy policy_;
  const CancelFlag& cancel_;
  std::optional<Clock::time_point> deadline_;
  int attempts_ = 1;
  int failed_ = 0;
  std::chrono::milliseconds silent_{0};  // the sum of the time-outs
  std::chrono::seconds waited_{0};       // the sum of the pauses that the server asked for
};

}  // namespace pkgfs
