// SPDX-License-Identifier: MIT
#include "daemon/observe/metrics_listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>

#include "core/base/error.h"
#include "daemon/cli/listen_address.h"

namespace pkgfs {
namespace {

constexpr int kBacklog = 256;

std::string bound_address(int fd) {
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0 ||
      ::getnameinfo(reinterpret_cast<const sockaddr*>(&name), length, host.data(), host.size(), port.data(),
                    port.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return {};
  }
  const std::string text = host.data();
  return (text.find(':') == std::string::npos ? text : "[" + text + "]") + ":" + port.data();
}

/// Throws Error: `what` and the reason.
UniqueFd listen_at_port(const ListenAddress& place, const std::string& what) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(place.host.c_str(), place.port.c_str(), &hints, &found) != 0 || found == nullptr) {
    throw Error(ErrorCode::kUsage, {what, "\"" + place.host + "\" isn't a numeric address"});
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  UniqueFd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;  // connections of a mount that has just ended may still hold the port
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      ::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    if (errno == EADDRINUSE) {
      throw Error(ErrorCode::kBusy, {what, "another process listens there"});
    }
    throw system_error(what, errno);
  }
  return fd;
}

}  // namespace

MetricsListener::MetricsListener(const std::string& address) {
  const std::string what = "The metrics can't be served at \"" + address + "\"";
  const ListenAddress place = parse_metrics_address(address);
  if (place.path.empty()) {
    port_ = listen_at_port(place, what);
    address_ = bound_address(port_.get());
  } else {
    unix_.emplace(place.path, what, UnixListener::Access::kUmask);
    address_ = "unix:" + unix_->path();
  }
}

}  // namespace pkgfs
