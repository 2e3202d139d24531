// SPDX-License-Identifier: MIT
// A network for tests and benchmarks: a TCP proxy on loopback that delays what it relays.
//
//   slow_proxy --listen 127.0.0.1:0 --to 127.0.0.1:PORT [--rtt-ms 30] [--mbit 200] [--control PATH]
//
// Prints its port on a line. Then it runs until SIGTERM or SIGINT, or until its parent process ends. At a signal it
// prints its counts as JSON: `connections` that were accepted, `open` now, `most_open` at a time, the bytes that are
// `waiting` here, and the bytes that were given to the server (`up`) and to the clients (`down`).
//
// The network:
// - Each direction is a link of `--mbit` (0: without a limit), which all connections share in turns of 16 KiB. A byte
//   arrives half of the round trip after it has left the link. Nothing is lost, and there is no slow start.
// - The kernel accepts a connection on loopback at once. So the round trip of the handshake is made up for: the first
//   bytes of the client enter the link a round trip later. The server sees the connection after half of it.
//   A request over a new connection gets its answer after two round trips, as over a real network.
// - The end of a connection travels like its bytes. A reset does so, too; a receiver that has gone resets at once.
// - If a receiver is slow, at most the content of the link and 1 MiB of its connection wait here, or 4 MiB if the rate
//   has no limit. Then the proxy reads no more from the sender.
//
// A client of the Unix socket PATH sends one command in a line. When the answer comes (`ok`, or JSON), it is in force:
//   gone         the server is gone: all connections are reset, new ones are refused
//   stall        nothing moves, but connections stay and the kernel accepts new ones
//   go           undoes both
//   cut BYTES    after so many more bytes to the clients, all connections are reset, once
//   rtt MS       another round trip
//   mbit N       another rate
//   counts       tells the counts
#include <arpa/inet.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "core/base/unique_fd.h"
#include "tests/support/slow_proxy/relay.h"

namespace {

using pkgfs::UniqueFd;
using pkgfs::slow_proxy::Clock;
using pkgfs::slow_proxy::Counts;
using pkgfs::slow_proxy::Relay;

constexpr double kBytesOfMegabit = 1'000'000.0 / 8;
constexpr std::chrono::seconds kTick{1};  // between two looks at the parent

struct Options {
  sockaddr_in listen{};
  sockaddr_in to{};
  double rtt_ms = 30;
  double mbit = 200;
  std::string control;
};

sockaddr_in parse_address(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (colon == std::string::npos || ::inet_pton(AF_INET, text.substr(0, colon).c_str(), &address.sin_addr) != 1) {
    throw std::invalid_argument("not an address: " + text);
  }
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoul(text.substr(colon + 1))));
  return address;
}

/// Throws std::invalid_argument.
Options parse_options(int argc, char** argv) {
  Options options;
  options.listen = parse_address("127.0.0.1:0");
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 == argc) {
      throw std::invalid_argument(name + " without a value");
    }
    const std::string value = argv[i + 1];
    if (name == "--listen") {
      options.listen = parse_address(value);
    } else if (name == "--to") {
      options.to = parse_address(value);
    } else if (name == "--rtt-ms") {
      options.rtt_ms = std::stod(value);
    } else if (name == "--mbit") {
      options.mbit = std::stod(value);
    } else if (name == "--control") {
      options.control = value;
    } else {
      throw std::invalid_argument("no such option: " + name);
    }
  }
  if (options.to.sin_port == 0) {
    throw std::invalid_argument("--to 127.0.0.1:PORT is missing");
  }
  return options;
}

Clock::duration milliseconds(double count) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(count));
}

UniqueFd control_socket(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    throw std::invalid_argument("the path of the control socket is too long");
  }
  path.copy(address.sun_path, path.size());
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), 16) != 0) {
    throw std::runtime_error(path + ": " + std::strerror(errno));
  }
  return fd;
}

std::string to_json(const Counts& counts) {
  std::ostringstream text;
  text << R"({"connections": )" << counts.connections << R"(, "open": )" << counts.open << R"(, "most_open": )"
       << counts.most_open << R"(, "waiting": )" << counts.waiting << R"(, "up": )" << counts.up << R"(, "down": )"
       << counts.down << "}";
  return text.str();
}

std::string obey(Relay& relay, const std::string& line) {
  std::istringstream words(line);
  std::string command;
  words >> command;
  double number = 0;
  const bool has_number = static_cast<bool>(words >> number) && number >= 0;
  if (command == "gone") {
    relay.be_gone();
  } else if (command == "stall") {
    relay.stall();
  } else if (command == "go") {
    relay.go();
  } else if (command == "cut" && has_number) {
    relay.cut_after(static_cast<std::uint64_t>(number));
  } else if (command == "rtt" && has_number) {
    relay.set_network(milliseconds(number), relay.rate());
  } else if (command == "mbit" && has_number) {
    relay.set_network(relay.rtt(), number * kBytesOfMegabit);
  } else if (command == "counts") {
    return to_json(relay.counts());
  } else {
    return "no such command";
  }
  return "ok";
}

/// One command of one client. It is the test itself, so waiting for it harms nobody.
void serve_control(Relay& relay, int listening) {
  const UniqueFd client(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
  const timeval limit{.tv_sec = 1, .tv_usec = 0};
  ::setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  std::string line;
  std::array<char, 256> buffer{};
  while (line.find('\n') == std::string::npos) {
    const ssize_t count = ::recv(client.get(), buffer.data(), buffer.size(), 0);
    if (count <= 0) {
      return;
    }
    line.append(buffer.data(), static_cast<std::size_t>(count));
  }
  const std::string answer = obey(relay, line.substr(0, line.find('\n'))) + "\n";
  static_cast<void>(::send(client.get(), answer.data(), answer.size(), MSG_NOSIGNAL));
}

void run(const Options& options) {
  const pid_t parent = ::getppid();
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;  // a hundred mounts have more connections than most shells allow
  ::setrlimit(RLIMIT_NOFILE, &files);
  sigset_t signals{};
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  const UniqueFd signalled(::signalfd(-1, &signals, SFD_CLOEXEC));
  Relay relay(options.listen, options.to, milliseconds(options.rtt_ms), options.mbit * kBytesOfMegabit);
  const UniqueFd control = options.control.empty() ? UniqueFd() : control_socket(options.control);
  std::cout << relay.port() << std::endl;
  while (::getppid() == parent) {
    const auto now = Clock::now();
    const auto wait = std::clamp<Clock::duration>(relay.next().value_or(now + kTick) - now, {}, kTick);
    const auto wait_s = std::chrono::duration_cast<std::chrono::seconds>(wait);
    const timespec limit{.tv_sec = wait_s.count(), .tv_nsec = (wait - wait_s).count()};
    std::array<pollfd, 3> ready{
        pollfd{.fd = signalled.get(), .events = POLLIN, .revents = 0},
        pollfd{.fd = control.get(), .events = POLLIN, .revents = 0},
        pollfd{.fd = relay.is_stalled() ? -1 : relay.poll_fd(), .events = POLLIN, .revents = 0}};
    ::ppoll(ready.data(), ready.size(), &limit, nullptr);
    if (ready[0].revents != 0) {
      break;
    }
    if (ready[1].revents != 0) {
      serve_control(relay, control.get());
    }
    relay.work();
  }
  std::cout << to_json(relay.counts()) << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse_options(argc, argv));
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::cerr << "slow_proxy: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}
