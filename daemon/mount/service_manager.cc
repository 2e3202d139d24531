// SPDX-License-Identifier: MIT
#include "daemon/mount/service_manager.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <iterator>
#include <sstream>
#include <system_error>
#include <utility>

#include "core/base/log.h"
#include "core/base/unique_fd.h"
#include "daemon/cli/text_output.h"
#include "daemon/keeper/socket_message.h"

namespace pkgfs {
namespace {

std::optional<long> number(const Environment& environment, const char* name) {
  const std::optional<std::string> text = environment(name);
  long value = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), value).ptr != text->data() + text->size()) {
    return std::nullopt;
  }
  return value;
}

/// Returns an errno number, or 0.
int send_datagram(const std::string& socket, const std::string& message, int passed) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // A path ends with a NUL. An abstract name begins with one, and the address's length says where it ends.
  const bool abstract = socket.front() == '@';
  const std::size_t length = socket.size() + (abstract ? 0 : 1);
  if ((!abstract && socket.front() != '/') || length > sizeof(address.sun_path)) {
    return EINVAL;
  }
  std::ranges::copy(socket, std::begin(address.sun_path));
  if (abstract) {
    address.sun_path[0] = '\0';
  }
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  const timeval limit{.tv_sec = 2, .tv_usec = 0};  // a manager that does not read must not block the daemon
  std::string text = message;
  SocketMessage sending(text);
  sending.to(&address, size);
  if (passed >= 0) {
    sending.attach(std::array{passed});
  }
  const bool sent = fd && ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0 &&
                    ::sendmsg(fd.get(), sending.header(), MSG_NOSIGNAL) >= 0;
  return sent ? 0 : errno;
}

}  // namespace

ServiceManager::ServiceManager(const Environment& environment)
    : socket_(environment("NOTIFY_SOCKET").value_or(std::string())),
      process_(number(environment, "LISTEN_PID").value_or(0)),
      passed_(number(environment, "LISTEN_FDS").value_or(0)),
      passed_names_(environment("LISTEN_FDNAMES").value_or(std::string())) {
  const std::optional<long> limit = number(environment, "WATCHDOG_USEC");
  const bool for_us = number(environment, "WATCHDOG_PID").value_or(::getpid()) == ::getpid();
  if (!socket_.empty() && for_us && limit.value_or(0) > 0) {
    // Half of the manager's limit, as sd_watchdog_enabled(3) advises.
    interval_ = std::max(std::chrono::milliseconds(*limit / 2000), std::chrono::milliseconds(1));
  }
}

void ServiceManager::status(std::string_view text) { send("STATUS=" + printable(text)); }

void ServiceManager::ready(std::string_view status) {
  send("READY=1\nSTATUS=" + printable(status) + "\nMAINPID=" + std::to_string(::getpid()));
}

void ServiceManager::store(const std::string& name, int fd) {
  stored_.insert(name);
  send("FDSTORE=1\nFDNAME=" + name, fd);
}

void ServiceManager::forget_stored() {
  for (const std::string& name : stored_) {
    send("FDSTOREREMOVE=1\nFDNAME=" + name);
  }
  stored_.clear();
}

std::vector<ServiceManager::Stored> ServiceManager::take_stored() {
  constexpr int kFirst = 3;  // SD_LISTEN_FDS_START
  constexpr long kMost = 4096;
  std::vector<Stored> stored;
  if (process_ != ::getpid() || passed_ > kMost) {
    return stored;
  }
  std::istringstream names(passed_names_);
  for (int fd = kFirst; fd < kFirst + passed_; ++fd) {
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    std::string name;
    std::getline(names, name, ':');
    stored_.insert(name);
    stored.push_back({std::move(name), UniqueFd(fd)});
  }
  return stored;
}

void ServiceManager::send(const std::string& message, int fd) {
  if (socket_.empty()) {
    return;
  }
  if (const int error = send_datagram(socket_, message, fd); error != 0) {
    log::warn("the service manager can't be reached at \"{}\": {}", socket_, std::generic_category().message(error));
    if (error != EAGAIN) {
      socket_.clear();
      interval_.reset();
    }
  }
}

}  // namespace pkgfs
