// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace pkgfs::test {

/// A network namespace, as the network of another machine. A process holds it, and it has no name: when that process
/// has ended, the kernel removes the namespace and its interfaces, also if the test was killed.
class Machine {
 public:
  /// Makes a namespace whose loopback interface is up. Throws std::runtime_error.
  Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  [[nodiscard]] pid_t pid() const { return holder_->pid(); }
  /// The words before a command that run it there. It keeps the mounts and processes of this machine.
  [[nodiscard]] Arguments enter() const;
  /// `command`, as it is run there.
  [[nodiscard]] Arguments there(const Arguments& command) const;
  /// Processes that use the network of the machine, without the one that holds it.
  [[nodiscard]] std::vector<pid_t> processes() const;

 private:
  std::unique_ptr<Process> holder_;
};

/// Why no second machine can be made here; empty if it can.
[[nodiscard]] std::string machines_missing();

/// Two machines with a cable between them (veth(4)), and no way to any other one.
struct TwoMachines {
  static constexpr const char* kServer = "192.0.2.1";  // RFC 5737: no real machine has these addresses
  static constexpr const char* kClient = "192.0.2.2";

  /// Throws std::runtime_error.
  TwoMachines();
  /// Pulls the cable out at the client.
  void cut() const;

  Machine server;
  Machine client;
};

}  // namespace pkgfs::test
