// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <utility>

#include "core/base/error.h"

namespace pkgfs {

/// Whether a server answers, and when it is worth asking again. Not thread-safe.
class ServerHealth {
 public:
  using Clock = std::chrono::steady_clock;

  /// Bytes came. Returns whether the server was down.
  bool answered() {
    const bool was_down = down_;
    failures_ = 0;
    down_ = false;
    next_ = {};
    error_.reset();
    return was_down;
  }
  /// A request failed with `error`. The next one is worth it after a pause, which doubles each time up to
  /// `kLongestPause`, but isn't shorter than what the server asked for.
  void failed(Error error, Clock::time_point now, std::optional<std::chrono::seconds> asked);
  /// Readers fail from now on until the server answers. Returns whether that is new.
  bool give_up() { return !std::exchange(down_, true); }

  [[nodiscard]] bool is_down() const { return down_; }
  /// Why the last request failed; none if it didn't.
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  /// When the next request is worth it.
  [[nodiscard]] Clock::time_point next() const { return next_; }
  /// The same for a request that no reader waits for.
  [[nodiscard]] Clock::time_point next_in_background() const {
    return failures_ == 0 ? next_ : next_ + kBackgroundPause;
  }

 private:
  static constexpr auto kFirstPause = std::chrono::milliseconds(100);
  static constexpr auto kLongestPause = std::chrono::seconds(1);
  static constexpr auto kBackgroundPause = std::chrono::seconds(10);
  static constexpr auto kLongestAsked = std::chrono::seconds(60);

  unsigned failures_ = 0;  // in a row
  bool down_ = false;
  Clock::time_point next_;
  std::optional<Error> error_;
};

}  // namespace pkgfs
