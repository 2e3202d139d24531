// SPDX-License-Identifier: MIT
#include "tests/support/http.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <string_view>

namespace pkgfs::test {

UniqueFd connect_to(const std::string& address) {
  constexpr std::string_view kUnix = "unix:";
  sockaddr_storage name{};
  socklen_t length = 0;
  if (address.starts_with(kUnix)) {
    auto& unix_name = reinterpret_cast<sockaddr_un&>(name);
    unix_name.sun_family = AF_UNIX;
    address.copy(unix_name.sun_path, sizeof(unix_name.sun_path) - 1, kUnix.size());
    length = sizeof(unix_name);
  } else {
    auto& tcp_name = reinterpret_cast<sockaddr_in&>(name);
    tcp_name.sin_family = AF_INET;
    const std::size_t colon = address.find(':');
    ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &tcp_name.sin_addr);
    tcp_name.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
    length = sizeof(tcp_name);
  }
  UniqueFd fd(::socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{.tv_sec = 5, .tv_usec = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), length) != 0) {
    return UniqueFd();
  }
  return fd;
}

std::string read_rest(int fd) {
  std::string all;
  std::array<char, 16384> part{};
  for (ssize_t count = ::recv(fd, part.data(), part.size(), 0); count > 0;
       count = ::recv(fd, part.data(), part.size(), 0)) {
    all.append(part.data(), static_cast<std::size_t>(count));
  }
  return all;
}

std::string talk(const std::string& address, const std::string& request) {
  const UniqueFd fd = connect_to(address);
  if (!fd) {
    return {};
  }
  for (std::size_t at = 0; at < request.size();) {
    const ssize_t sent = ::send(fd.get(), request.data() + at, request.size() - at, MSG_NOSIGNAL);
    if (sent <= 0) {
      break;
    }
    at += static_cast<std::size_t>(sent);
  }
  return read_rest(fd.get());
}

std::string scrape(const std::string& address) {
  const std::string answer = talk(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer.substr(0, 200);
  const std::size_t body = answer.find("\r\n\r\n");
  return body == std::string::npos ? std::string() : answer.substr(body + 4);
}

}  // namespace pkgfs::test
