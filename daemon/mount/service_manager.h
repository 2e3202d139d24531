// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/cli/io.h"

namespace pkgfs {

/// Reports the state of this process to the service manager that started it: datagrams to NOTIFY_SOCKET (sd_notify(3)).
/// Does nothing if there is no service manager. A message that can't be sent is logged as a warning. Not thread-safe.
///
/// It does not use libsystemd: the protocol is one sendto(), and the library would add eight shared libraries to the
/// start of every command.
class ServiceManager {
 public:
  /// No service manager.
  ServiceManager() = default;
  /// The one that the environment names: NOTIFY_SOCKET (a path, or "@name"), WATCHDOG_USEC, WATCHDOG_PID.
  explicit ServiceManager(const Environment& environment);

  /// Sets the text that `systemctl status` shows.
  void status(std::string_view text);
  void ready(std::string_view status);
  void stopping() { send("STOPPING=1"); }
  /// Reassures the watchdog. Call it once in each `watchdog_interval()`: the manager kills a process that misses two.
  void alive() { send("WATCHDOG=1"); }
  /// Nothing if the manager has no watchdog for this process.
  [[nodiscard]] std::optional<std::chrono::milliseconds> watchdog_interval() const { return interval_; }

 private:
  void send(const std::string& message);

  std::string socket_;  // empty: no service manager
  std::optional<std::chrono::milliseconds> interval_;
};

}  // namespace pkgfs
