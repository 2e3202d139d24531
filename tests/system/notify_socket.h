// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <string>

#include "core/base/unique_fd.h"

namespace pkgfs::test {

/// What a service manager listens at.
class NotifySocket {
 public:
  /// A path, or "@" and a name without one.
  explicit NotifySocket(std::string name) : name_(std::move(name)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(name_, std::begin(address.sun_path));
    const bool abstract = name_.front() == '@';
    if (abstract) {
      address.sun_path[0] = '\0';
    }
    fd_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size() + (abstract ? 0 : 1));
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  }

  [[nodiscard]] const std::string& name() const { return name_; }
  /// The next message; empty when none comes in time.
  [[nodiscard]] std::string next(std::chrono::milliseconds limit = std::chrono::seconds(5)) const {
    const timeval wait{.tv_sec = limit.count() / 1000, .tv_usec = limit.count() % 1000 * 1000 + 1};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    std::string text(4096, '\0');
    const ssize_t length = ::recv(fd_.get(), text.data(), text.size(), 0);
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
    return text;
  }
  /// All that has come.
  void drain() const {
    while (!next(std::chrono::milliseconds(0)).empty()) {
    }
  }

 private:
  std::string name_;
  UniqueFd fd_;
};

}  // namespace pkgfs::test
