// SPDX-License-Identifier: MIT
#pragma once

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/base/unique_fd.h"
#include "tests/support/slow_proxy/link.h"
#include "tests/support/slow_proxy/timers.h"

namespace pkgfs::slow_proxy {

/// What went through, for the benchmark.
struct Counts {
  std::uint64_t connections = 0;  // that were accepted
  std::uint64_t open = 0;         // now
  std::uint64_t most_open = 0;    // at a time
  std::uint64_t waiting = 0;      // bytes that were taken and not given yet
  std::uint64_t up = 0;           // bytes that were given to the server
  std::uint64_t down = 0;         // bytes that were given to the clients
};

/// Relays connections to one server through a network that it makes up (main.cc describes it). Single-threaded: the
/// owner waits until `poll_fd()` is readable or `next()` has come, and then calls `work()`.
class Relay {
 public:
  Relay(const sockaddr_in& listen, const sockaddr_in& server, Clock::duration rtt, double rate);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] int poll_fd() const { return epoll_.get(); }
  /// When `work()` is due at the latest; none: when `poll_fd()` is readable.
  [[nodiscard]] std::optional<Clock::time_point> next() const;
  void work();

  /// Resets all connections, and from now on refuses new ones.
  void be_gone();
  /// From now on takes and gives no byte, but keeps the connections. The kernel still accepts new ones.
  void stall() { is_stalled_ = true; }
  [[nodiscard]] bool is_stalled() const { return is_stalled_; }
  /// Goes on after `be_gone` or `stall`.
  void go();
  /// Resets all connections once, after `bytes` more bytes were given to the clients.
  void cut_after(std::uint64_t bytes) { cut_after_ = bytes; }
  void set_network(Clock::duration rtt, double rate);
  [[nodiscard]] Clock::duration rtt() const { return rtt_; }
  [[nodiscard]] double rate() const { return rate_; }
  [[nodiscard]] Counts counts() const;

 private:
  struct Half;
  struct Connection;
  using Shared = std::shared_ptr<Connection>;
  /// A link, and whose bytes enter it next, in turn.
  struct Lane {
    Link link;
    std::deque<std::pair<Shared, Half*>> waiting;
  };

  void listen();
  void accept_all();
  void connect(const Shared& connection);
  void handle(Connection& connection, bool is_client, std::uint32_t events);
  /// Lets `half` wait for the link if it has bytes to send and may.
  void queue(const Shared& connection, Half& half);
  /// Lets bytes enter the link while it is free.
  void pump(Lane& lane);
  void take(const Shared& connection, Half& half);
  /// Gives what has arrived to the receiver, as far as it takes it.
  void give(const Shared& connection, Half& half);
  void close(const Shared& connection, bool reset);
  void reset_all();
  void watch(int fd, void* whose) const;

  sockaddr_in server_;
  Clock::duration rtt_;
  double rate_;
  int port_ = 0;
  UniqueFd epoll_;
  UniqueFd reserved_;  // bound but doesn't listen, so that no other process gets the port while this one is gone
  UniqueFd listening_;
  Timers timers_;
  Lane up_;
  Lane down_;
  bool is_stalled_ = false;
  std::optional<std::uint64_t> cut_after_;
  std::unordered_set<Shared> connections_;
  std::vector<Shared> closed_;  // events of the same call of `work` may still name them
  Counts counts_;
};

}  // namespace pkgfs::slow_proxy
