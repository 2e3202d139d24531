// SPDX-License-Identifier: MIT
#include "tests/support/raw_server.h"

#include <netinet/in.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string_view>

namespace pkgfs::test {
namespace {

constexpr int kPollMilliseconds = 10;

bool is_readable(int fd, int milliseconds) {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, milliseconds) > 0;
}

/// Whether all of a request is there: its head, and as much of a body as it announces.
bool is_whole(const std::string& request) {
  const std::size_t end = request.find("\r\n\r\n");
  if (end == std::string::npos) {
    return false;
  }
  const std::string length = header_of(request, "Content-Length");
  return request.size() >= end + 4 + (length.empty() ? 0 : std::stoul(length));
}

}  // namespace

std::string header_of(const std::string& request, const std::string& name) {
  const std::string wanted = name + ":";
  for (std::size_t at = request.find("\r\n"); at != std::string::npos; at = request.find("\r\n", at + 2)) {
    if (::strncasecmp(request.c_str() + at + 2, wanted.c_str(), wanted.size()) == 0) {
      const std::size_t begin = request.find_first_not_of(' ', at + 2 + wanted.size());
      return request.substr(begin, request.find("\r\n", begin) - begin);
    }
  }
  return {};
}

RawServer::RawServer(Answer answer)
    : answer_(std::move(answer)), listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listening_.get(), any, length) != 0 || ::listen(listening_.get(), 128) != 0 ||
      ::getsockname(listening_.get(), any, &length) != 0) {
    throw std::runtime_error("RawServer: no port");
  }
  port_ = ntohs(address.sin_port);
  accepting_ = std::thread([this] { accept_all(); });
}

RawServer::~RawServer() {
  stopping_ = true;
  accepting_.join();
  for (std::thread& each : threads_) {
    each.join();
  }
}

std::string RawServer::authority() const { return "http://127.0.0.1:" + std::to_string(port_); }

std::vector<std::string> RawServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void RawServer::accept_all() {
  while (!stopping_) {
    if (is_readable(listening_.get(), kPollMilliseconds)) {
      const int connection = ::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      threads_.emplace_back([this, connection] { serve(connection); });
    }
  }
}

void RawServer::serve(int connection) {
  const UniqueFd fd(connection);
  std::string request;
  std::array<char, 4096> buffer{};
  while (!is_whole(request)) {
    if (stopping_) {
      return;
    }
    if (is_readable(fd.get(), kPollMilliseconds)) {
      const ssize_t count = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
      if (count <= 0) {
        return;
      }
      request.append(buffer.data(), static_cast<std::size_t>(count));
    }
  }
  Reply reply;
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
    reply = answer_(request, requests_.size() - 1);
  }
  const std::size_t piece = reply.piece == 0 ? reply.bytes.size() : reply.piece;
  for (std::size_t at = 0; at < reply.bytes.size() && !stopping_; at += piece) {
    const std::string_view part = std::string_view(reply.bytes).substr(at, piece);
    if (::send(fd.get(), part.data(), part.size(), MSG_NOSIGNAL) < 0) {
      return;
    }
    std::this_thread::sleep_for(reply.pause);
  }
  while (reply.end == Reply::End::kHang && !stopping_) {
    if (is_readable(fd.get(), kPollMilliseconds) && ::recv(fd.get(), buffer.data(), buffer.size(), 0) <= 0) {
      return;
    }
  }
  if (reply.end == Reply::End::kReset) {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
}

}  // namespace pkgfs::test
