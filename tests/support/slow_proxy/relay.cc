// SPDX-License-Identifier: MIT
#include "tests/support/slow_proxy/relay.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace pkgfs::slow_proxy {
namespace {

constexpr std::size_t kQuantum = 16U << 10U;  // bytes of one connection before it's the turn of the next
constexpr int kSocketBuffer = 256 << 10;      // small, so that a closed connection hasn't sent much in vain

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

UniqueFd bound_socket(const sockaddr_in& address) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kSocketBuffer, sizeof kSocketBuffer);  // of accepted ones, too
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    fail("bind");
  }
  return fd;
}

}  // namespace

/// One direction of a connection.
struct Relay::Half {
  int from = -1;
  int to = -1;
  bool is_open = false;      // the connection is made as far as its sender knows
  bool is_readable = false;  // as far as is known
  bool is_writable = false;  // as far as is known
  bool is_waiting = false;   // in `Lane::waiting`
  bool has_ended = false;    // the sender sends no more
  bool is_last = false;      // all that was sent has arrived
  bool is_done = false;      // the receiver knows the end
  std::size_t on_the_way = 0;
  std::deque<std::vector<char>> arrived;
  std::size_t given = 0;  // of the first of `arrived`
  Lane* lane = nullptr;
};

/// What epoll tells of: a socket of a connection.
struct Relay::Connection : std::enable_shared_from_this<Connection> {
  struct End {
    Connection* connection;
    bool is_client;
  };

  UniqueFd client;
  UniqueFd server;
  Half up;
  Half down;
  End client_end{this, true};
  End server_end{this, false};
  bool is_closed = false;
};

Relay::Relay(const sockaddr_in& listen_at, const sockaddr_in& server, Clock::duration rtt, double rate)
    : server_(server),
      rtt_(rtt),
      rate_(rate),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      reserved_(bound_socket(listen_at)) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  if (::getsockname(reserved_.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    fail("getsockname");
  }
  port_ = ntohs(address.sin_port);
  set_network(rtt, rate);
  listen();
}

Relay::~Relay() = default;

void Relay::set_network(Clock::duration rtt, double rate) {
  rtt_ = rtt;
  rate_ = rate;
  up_.link.set(rate, rtt / 2);
  down_.link.set(rate, rtt / 2);
}

Counts Relay::counts() const {
  Counts counts = counts_;
  counts.open = connections_.size();
  for (const Shared& each : connections_) {
    counts.waiting += each->up.on_the_way + each->down.on_the_way;
  }
  return counts;
}

void Relay::watch(int fd, void* whose) const {
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = whose}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    fail("epoll_ctl");
  }
}

void Relay::listen() {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  ::getsockname(reserved_.get(), reinterpret_cast<sockaddr*>(&address), &length);
  listening_ = bound_socket(address);
  if (::listen(listening_.get(), 1024) != 0) {
    fail("listen");
  }
  watch(listening_.get(), this);
}

void Relay::be_gone() {
  is_stalled_ = false;
  listening_.reset();
  reset_all();
}

void Relay::go() {
  is_stalled_ = false;
  if (!listening_) {
    listen();
  }
}

void Relay::reset_all() {
  while (!connections_.empty()) {
    close(*connections_.begin(), true);
  }
}

std::optional<Clock::time_point> Relay::next() const {
  if (is_stalled_) {
    return std::nullopt;
  }
  std::optional<Clock::time_point> first = timers_.next();
  for (const Lane* lane : {&up_, &down_}) {
    if (!lane->waiting.empty()) {
      first = std::min(first.value_or(Clock::time_point::max()), lane->link.free_at());
    }
  }
  return first;
}

void Relay::work() {
  std::array<epoll_event, 256> events{};
  const int count = is_stalled_ ? 0 : ::epoll_wait(epoll_.get(), events.data(), events.size(), 0);
  for (const epoll_event& event : std::span(events).first(static_cast<std::size_t>(std::max(count, 0)))) {
    if (event.data.ptr == this) {
      accept_all();
    } else {
      const auto& end = *static_cast<Connection::End*>(event.data.ptr);
      handle(*end.connection, end.is_client, event.events);
    }
  }
  if (!is_stalled_) {
    timers_.run(Clock::now());
    pump(up_);
    pump(down_);
  }
  closed_.clear();
}

void Relay::accept_all() {
  while (true) {
    UniqueFd client(::accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client) {
      return;
    }
    auto connection = std::make_shared<Connection>();
    connection->client = std::move(client);
    const int fd = connection->client.get();
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection->up.from = connection->down.to = fd;
    connection->up.lane = &up_;
    connection->down.lane = &down_;
    connections_.insert(connection);
    ++counts_.connections;
    counts_.most_open = std::max<std::uint64_t>(counts_.most_open, connections_.size());
    watch(fd, &connection->client_end);
    const auto now = Clock::now();
    timers_.at(now + rtt_ / 2, [this, connection] { connect(connection); });
    timers_.at(now + rtt_, [this, connection] {
      connection->up.is_open = true;
      queue(connection, connection->up);
    });
  }
}

void Relay::connect(const Shared& connection) {
  if (connection->is_closed) {
    return;
  }
  connection->server = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int fd = connection->server.get();
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kSocketBuffer, sizeof kSocketBuffer);
  connection->up.to = connection->down.from = fd;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&server_), sizeof server_) != 0 && errno != EINPROGRESS) {
    timers_.at(Clock::now() + rtt_ / 2, [this, connection] { close(connection, true); });
    return;
  }
  connection->down.is_open = true;
  watch(fd, &connection->server_end);
}

void Relay::handle(Connection& connection, bool is_client, std::uint32_t events) {
  if (connection.is_closed) {
    return;
  }
  const Shared shared = connection.shared_from_this();
  Half& sends = is_client ? connection.up : connection.down;
  Half& receives = is_client ? connection.down : connection.up;
  if ((events & EPOLLERR) != 0 && sends.has_ended) {
    close(shared, true);  // else `take` finds the error
    return;
  }
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    sends.is_readable = true;
    queue(shared, sends);
  }
  if ((events & EPOLLOUT) != 0) {
    receives.is_writable = true;
    give(shared, receives);
  }
}

void Relay::queue(const Shared& connection, Half& half) {
  if (!connection->is_closed && half.is_open && half.is_readable && !half.has_ended && !half.is_waiting &&
      half.on_the_way < half.lane->link.most_on_the_way()) {
    half.is_waiting = true;
    half.lane->waiting.emplace_back(connection, &half);
  }
}

void Relay::pump(Lane& lane) {
  const auto now = Clock::now();
  while (!lane.waiting.empty() && lane.link.is_free(now)) {
    const auto [connection, half] = std::move(lane.waiting.front());
    lane.waiting.pop_front();
    half->is_waiting = false;
    if (!connection->is_closed) {
      take(connection, *half);
    }
  }
}

void Relay::take(const Shared& connection, Half& half) {
  static std::array<char, kQuantum> buffer;
  const ssize_t count = ::recv(half.from, buffer.data(), buffer.size(), 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
    half.is_readable = errno == EINTR;
    queue(connection, half);
    return;
  }
  const auto now = Clock::now();
  if (count <= 0) {  // what was sent before arrives first
    half.has_ended = true;
    timers_.at(half.lane->link.send(0, now), [this, connection, &half, is_reset = count < 0] {
      half.is_last = true;
      if (is_reset) {
        close(connection, true);
      } else {
        give(connection, half);
      }
    });
    return;
  }
  std::vector<char> bytes(buffer.begin(), buffer.begin() + count);
  half.on_the_way += bytes.size();
  const auto arrival = half.lane->link.send(bytes.size(), now);
  timers_.at(arrival, [this, connection, &half, moved = std::move(bytes)]() mutable {
    half.arrived.push_back(std::move(moved));
    give(connection, half);
  });
  queue(connection, half);
}

void Relay::give(const Shared& connection, Half& half) {
  if (connection->is_closed) {
    return;
  }
  const bool is_down = half.lane == &down_;
  while (!half.arrived.empty() && half.is_writable) {
    const std::vector<char>& first = half.arrived.front();
    std::size_t most = first.size() - half.given;
    if (is_down && cut_after_) {
      most = std::min<std::uint64_t>(most, *cut_after_);
    }
    const ssize_t count = most == 0 ? 0 : ::send(half.to, first.data() + half.given, most, MSG_NOSIGNAL);
    if (count < 0) {
      if (errno != EAGAIN) {
        close(connection, true);
        return;
      }
      half.is_writable = false;
      break;
    }
    const auto sent = static_cast<std::size_t>(count);
    (is_down ? counts_.down : counts_.up) += sent;
    half.on_the_way -= sent;
    half.given += sent;
    if (half.given == first.size()) {
      half.arrived.pop_front();
      half.given = 0;
    }
    if (is_down && cut_after_) {
      *cut_after_ -= sent;
      if (*cut_after_ == 0) {
        cut_after_.reset();
        reset_all();
        return;
      }
    }
  }
  if (half.is_last && half.arrived.empty() && !half.is_done) {
    half.is_done = true;
    ::shutdown(half.to, SHUT_WR);
    if (connection->up.is_done && connection->down.is_done) {
      close(connection, false);
      return;
    }
  }
  queue(connection, half);
}

void Relay::close(const Shared& given, bool reset) {
  const Shared connection = given;  // may be a reference into `connections_`
  if (std::exchange(connection->is_closed, true)) {
    return;
  }
  for (UniqueFd* fd : {&connection->client, &connection->server}) {
    if (reset && *fd) {
      const linger at_once{.l_onoff = 1, .l_linger = 0};
      ::setsockopt(fd->get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    fd->reset();
  }
  for (Half* half : {&connection->up, &connection->down}) {
    half->arrived.clear();
  }
  closed_.push_back(connection);
  connections_.erase(connection);
}

}  // namespace pkgfs::slow_proxy
