// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/cli/io.h"

namespace pkgfs {

/// Tells the service manager that started us how far we are: datagrams to NOTIFY_SOCKET (sd_notify(3)). Written here,
/// as the protocol is one sendto(): libsystemd would add eight shared libraries to the start of every command. Does
/// nothing where no manager listens. What can't be sent is a warning. Not thread-safe.
class ServiceManager {
 public:
  /// Nobody listens.
  ServiceManager() = default;
  /// Whoever `environment` names: NOTIFY_SOCKET (a path, or "@name"), WATCHDOG_USEC, WATCHDOG_PID.
  explicit ServiceManager(const Environment& environment);

  /// What is going on, for `systemctl status`.
  void status(std::string_view text);
  void ready(std::string_view status);
  void stopping() { send("STOPPING=1"); }
  /// To be called once in `watchdog_interval()`; whoever misses two is killed by the manager.
  void alive() { send("WATCHDOG=1"); }
  /// Nothing where no watchdog was asked for.
  [[nodiscard]] std::optional<std::chrono::milliseconds> watchdog_interval() const { return interval_; }

 private:
  void send(const std::string& message);

  std::string socket_;  // empty: nobody listens
  std::optional<std::chrono::milliseconds> interval_;
};

}  // namespace pkgfs
