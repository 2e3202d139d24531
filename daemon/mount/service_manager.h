// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"
#include "daemon/cli/io.h"

namespace pkgfs {

/// Reports the state of this process to the service manager that started it: datagrams to NOTIFY_SOCKET (sd_notify(3)).
/// Does nothing if there is no service manager. A message that can't be sent is logged as a warning. Not thread-safe.
///
/// It does not use libsystemd: the protocol is one sendmsg(), and the library would add eight shared libraries to the
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
  /// Lets the manager keep a duplicate of `fd` under `name`, if its unit allows that (FileDescriptorStoreMax=). The
  /// manager gives the descriptor to the next process of the unit. Call `forget_stored` before the same files are
  /// stored again. For systemd ignores a file that it keeps already, even under another name, and it may keep several
  /// descriptors under one name.
  void store(const std::string& name, int fd);
  /// Lets the manager close all descriptors that this process and those before it have stored.
  void forget_stored();
  /// A descriptor that an earlier process of the unit has stored.
  struct Stored {
    std::string name;
    UniqueFd fd;
  };
  /// The descriptors that the manager has passed to this process: LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES
  /// (sd_listen_fds_with_names(3)). Call it once.
  [[nodiscard]] std::vector<Stored> take_stored();
  [[nodiscard]] bool is_there() const { return !socket_.empty(); }
  /// Nothing if the manager has no watchdog for this process.
  [[nodiscard]] std::optional<std::chrono::milliseconds> watchdog_interval() const { return interval_; }

 private:
  void send(const std::string& message, int fd = -1);

  std::string socket_;  // empty: no service manager
  long process_ = 0;    // the process to which the manager passed descriptors
  long passed_ = 0;     // their number
  std::string passed_names_;
  std::set<std::string> stored_;  // the names of what the manager keeps
  std::optional<std::chrono::milliseconds> interval_;
};

}  // namespace pkgfs
