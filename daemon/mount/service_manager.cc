// SPDX-License-Identifier: MIT
#include "daemon/mount/service_manager.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <iterator>
#include <system_error>

#include "core/base/log.h"
#include "core/base/unique_fd.h"
#include "daemon/cli/text_output.h"

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
int send_datagram(const std::string& socket, const std::string& message) {
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
  const bool sent = fd && ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0 &&
                    ::sendto(fd.get(), message.data(), message.size(), MSG_NOSIGNAL,
                             reinterpret_cast<const sockaddr*>(&address), size) >= 0;
  return sent ? 0 : errno;
}

}  // namespace

ServiceManager::ServiceManager(const Environment& environment)
    : socket_(environment("NOTIFY_SOCKET").value_or(std::string())) {
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

void ServiceManager::send(const std::string& message) {
  if (socket_.empty()) {
    return;
  }
  if (const int error = send_datagram(socket_, message); error != 0) {
    log::warn("the service manager can't be reached at \"{}\": {}", socket_, std::generic_category().message(error));
    if (error != EAGAIN) {
      socket_.clear();
      interval_.reset();
    }
  }
}

}  // namespace pkgfs
