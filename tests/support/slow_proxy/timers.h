// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <utility>

namespace pkgfs::slow_proxy {

using Clock = std::chrono::steady_clock;

/// What is to be done later, in the order of its time; of one time, in the order of the calls.
class Timers {
 public:
  void at(Clock::time_point when, std::function<void()> what) { waiting_.emplace(when, std::move(what)); }
  void run(Clock::time_point now) {
    while (!waiting_.empty() && waiting_.begin()->first <= now) {
      waiting_.extract(waiting_.begin()).mapped()();
    }
  }
  [[nodiscard]] std::optional<Clock::time_point> next() const {
    return waiting_.empty() ? std::nullopt : std::optional(waiting_.begin()->first);
  }

 private:
  std::multimap<Clock::time_point, std::function<void()>> waiting_;
};

}  // namespace pkgfs::slow_proxy
