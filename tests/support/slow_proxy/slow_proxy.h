// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace pkgfs::test {

/// A network between a test and a server on loopback, with a round-trip time and a rate (slow_proxy_main.cc describes
/// it). Use from any thread. The destructor ends it, and all its connections.
class SlowProxy {
 public:
  struct Options {
    std::chrono::milliseconds rtt{30};
    double mbit = 200;  // in each direction, for all connections together; 0: without a limit
  };
  struct Counts {
    std::uint64_t connections = 0;  // that were accepted
    std::uint64_t open = 0;         // now
    std::uint64_t most_open = 0;    // at a time
    std::uint64_t waiting = 0;      // bytes that the proxy took and hasn't given yet
    std::uint64_t up = 0;           // bytes that were given to the server
    std::uint64_t down = 0;         // bytes that were given to the clients
  };

  /// `server`: "127.0.0.1:P", or a URL of it. Throws std::runtime_error if the proxy doesn't start.
  explicit SlowProxy(const std::string& server) : SlowProxy(server, Options()) {}
  SlowProxy(const std::string& server, Options options);

  /// "127.0.0.1:P".
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  /// "http://127.0.0.1:P".
  [[nodiscard]] std::string authority() const { return "http://" + address(); }

  /// When these return, they are in force. They throw std::runtime_error if the proxy doesn't obey.
  /// Resets all connections, and refuses new ones until `go`.
  void be_gone() const { command("gone"); }
  /// Nothing moves until `go`, but the connections stay.
  void stall() const { command("stall"); }
  void go() const { command("go"); }
  /// Resets all connections once, after `bytes` more bytes to the clients.
  void cut_after(std::uint64_t bytes) const { command("cut " + std::to_string(bytes)); }
  void set_rtt(std::chrono::milliseconds rtt) const { command("rtt " + std::to_string(rtt.count())); }
  void set_mbit(double mbit) const { command("mbit " + std::to_string(mbit)); }
  [[nodiscard]] Counts counts() const;

 private:
  [[nodiscard]] std::string control() const { return directory_.path() / "control"; }
  [[nodiscard]] std::string ask(const std::string& line) const;
  void command(const std::string& line) const;

  TempDir directory_;
  Process process_;
  int port_ = 0;
};

}  // namespace pkgfs::test
