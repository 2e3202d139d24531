// SPDX-License-Identifier: MIT
#include "tests/fuzz/raw_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "core/base/error.h"

namespace pkgfs::fuzz {
namespace {

/// Reads until the head of a request ends, the peer closes, or it says nothing for a second.
void read_request(int connection) {
  std::string request;
  std::array<char, 4096> buffer{};
  while (request.find("\r\n\r\n") == std::string::npos) {
    const ssize_t count = ::recv(connection, buffer.data(), buffer.size(), 0);
    if (count <= 0) {
      return;
    }
    request.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace

RawServer::RawServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener_.get(), generic, length) != 0 || ::listen(listener_.get(), 8) != 0 ||
      ::getsockname(listener_.get(), generic, &length) != 0) {
    throw system_error("Unable to listen", errno);
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { serve(); });
}

RawServer::~RawServer() {
  ::shutdown(listener_.get(), SHUT_RDWR);  // ends accept(2)
  thread_.join();
}

std::string RawServer::address() const { return "http://127.0.0.1:" + std::to_string(port_); }

void RawServer::set_answers(std::deque<std::string> answers) {
  const std::lock_guard lock(mutex_);
  answers_ = std::move(answers);
}

std::string RawServer::next_answer() {
  const std::lock_guard lock(mutex_);
  if (answers_.empty()) {
    return {};
  }
  std::string answer = std::move(answers_.front());
  answers_.pop_front();
  return answer;
}

void RawServer::serve() {
  while (true) {
    const UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) {
      return;
    }
    constexpr timeval kPatience{.tv_sec = 1, .tv_usec = 0};
    ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
    const std::string answer = next_answer();
    read_request(connection.get());
    (void)::send(connection.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    ::shutdown(connection.get(), SHUT_WR);
    std::array<char, 4096> rest{};
    while (::recv(connection.get(), rest.data(), rest.size(), 0) > 0) {  // else a reset could overtake the answer
    }
  }
}

}  // namespace pkgfs::fuzz
