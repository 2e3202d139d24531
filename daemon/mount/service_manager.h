// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"
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
  /// Lets the manager keep a duplicate of `fd` under `name`, if its unit allows that (FileDescriptorStoreMax=). It
  /// gives the descriptor to the next process of the unit. Later calls with the same name add descriptors.
  void store(const std::string& name, int fd);
  /// Lets the manager close what it keeps under `name`.
  void forget(const std::string& name);
  [[nodiscard]] bool is_there() const { return !socket_.empty(); }
  /// Nothing if the manager has no watchdog for this process.
  [[nodiscard]] std::optional<std::chrono::milliseconds> watchdog_interval() const { return interval_; }

 private:
  void send(const std::string& message, int fd = -1);

  std::string socket_;  // empty: no service manager
  std::optional<std::chrono::milliseconds> interval_;
};

/// A descriptor that the service manager has passed to this process, and the name under which it was stored.
struct StoredDescriptor {
  std::string name;
  UniqueFd fd;
};
/// Those that the environment names: LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES (sd_listen_fds_with_names(3)). Call it
/// once.
[[nodiscard]] std::vector<StoredDescriptor> take_stored(const Environment& environment);

}  // namespace pkgfs
