// SPDX-License-Identifier: MIT
#include "tests/support/raw_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

namespace pkgfs::test {

RawClient::RawClient(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  connected_ = ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

bool RawClient::send(const std::string& text) const {
  return ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

std::string RawClient::read(std::chrono::milliseconds limit, const std::string& enough) const {
  std::string text;
  const auto end = std::chrono::steady_clock::now() + limit;
  while (enough.empty() || text.find(enough) == std::string::npos) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd watched{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    char buffer[4096];
    if (left.count() <= 0 || ::poll(&watched, 1, static_cast<int>(left.count())) <= 0) {
      break;
    }
    const ssize_t got = ::recv(fd_.get(), buffer, sizeof(buffer), 0);
    if (got <= 0) {
      break;
    }
    text.append(buffer, static_cast<std::size_t>(got));
  }
  return text;
}

bool RawClient::is_closed_within(std::chrono::milliseconds limit) const {
  pollfd watched{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  char byte = 0;
  return ::poll(&watched, 1, static_cast<int>(limit.count())) > 0 && ::recv(fd_.get(), &byte, 1, MSG_PEEK) <= 0;
}

}  // namespace pkgfs::test
