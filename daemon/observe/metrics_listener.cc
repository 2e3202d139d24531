// SPDX-License-Identifier: MIT
#include "daemon/observe/metrics_listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/error.h"
#include "daemon/cli/listen_address.h"

namespace pkgfs {
namespace {

constexpr std::string_view kUnix = "unix:";
constexpr int kBacklog = 256;

std::string name_of(const std::string& address) { return "The metrics can't be served at \"" + address + "\""; }

[[noreturn]] void refuse(const std::string& address, ErrorCode code, std::string why) {
  throw Error(code, {name_of(address), std::move(why)});
}

sockaddr_un unix_address(const std::string& address, const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof(name.sun_path)) {
    refuse(address, ErrorCode::kUsage,
           "a socket's path has at most " + std::to_string(sizeof(name.sun_path) - 1) + " bytes");
  }
  path.copy(name.sun_path, path.size());
  return name;
}

/// Removes a socket that nobody listens at; anything else that is there is an error.
void clear_path(const std::string& address, const std::string& path, const sockaddr_un& name) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) {
    return;  // bind says what else is wrong
  }
  if (!S_ISSOCK(status.st_mode)) {
    refuse(address, ErrorCode::kUsage, "what is there is not a socket");
  }
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const bool refused =
      ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0 && errno == ECONNREFUSED;
  if (!refused) {
    refuse(address, ErrorCode::kBusy, "another process listens there");
  }
  ::unlink(path.c_str());
}

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

}  // namespace

MetricsListener::MetricsListener(const std::string& address) : address_(address) {
  const ListenAddress place = parse_metrics_address(address);
  if (place.path.empty()) {
    listen_at_port(place.host, place.port);
  } else {
    listen_at_path(std::filesystem::absolute(place.path));
  }
}

MetricsListener::~MetricsListener() {
  struct stat status{};
  if (!path_.empty() && ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

void MetricsListener::listen_at_path(const std::string& path) {
  const sockaddr_un name = unix_address(address_, path);
  clear_path(address_, path, name);
  family_ = AF_UNIX;
  fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_ || ::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0) {
    const int error = errno;
    if (error == EADDRINUSE) {
      refuse(address_, ErrorCode::kBusy, "another process listens there");
    }
    throw system_error(name_of(address_), error);
  }
  struct stat status{};
  if (::lstat(path.c_str(), &status) == 0) {
    path_ = path;
    device_ = status.st_dev;
    inode_ = status.st_ino;
  }
  if (::listen(fd_.get(), kBacklog) != 0) {
    const int error = errno;
    ::unlink(path.c_str());
    throw system_error(name_of(address_), error);
  }
  address_ = std::string(kUnix) + path;
}

void MetricsListener::listen_at_port(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0 || found == nullptr) {
    refuse(address_, ErrorCode::kUsage, "\"" + host + "\" isn't a numeric address");
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  family_ = found->ai_family;
  fd_.reset(::socket(family_, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;  // the connections of a mount that just ended may still be there
  if (!fd_ || ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      ::bind(fd_.get(), found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd_.get(), kBacklog) != 0) {
    const int error = errno;
    if (error == EADDRINUSE) {
      refuse(address_, ErrorCode::kBusy, "another process listens there");
    }
    throw system_error(name_of(address_), error);
  }
  address_ = bound_address(fd_.get());
}

}  // namespace pkgfs
