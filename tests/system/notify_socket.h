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
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/unique_fd.h"
#include "daemon/keeper/socket_message.h"

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
  /// The next message that isn't about stored descriptors; empty when none comes in time. Stores and removes those on
  /// the way.
  [[nodiscard]] std::string next(std::chrono::milliseconds limit = std::chrono::seconds(5)) const {
    const timeval wait{.tv_sec = limit.count() / 1000, .tv_usec = limit.count() % 1000 * 1000 + 1};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    while (true) {
      std::string text = receive();
      constexpr std::string_view kStore = "FDSTORE=1\nFDNAME=";
      constexpr std::string_view kRemove = "FDSTOREREMOVE=1\nFDNAME=";
      if (text.starts_with(kStore)) {
        stored_.emplace_back(text.substr(kStore.size()), std::move(passed_));
      } else if (text.starts_with(kRemove)) {
        std::erase_if(stored_, [&](const auto& each) { return each.first == text.substr(kRemove.size()); });
      } else {
        return text;
      }
    }
  }
  /// The descriptors that the process has stored, with their names.
  [[nodiscard]] const std::vector<std::pair<std::string, UniqueFd>>& stored() const { return stored_; }
  /// Puts another descriptor into the place of a stored one.
  void replace(const std::string& name, UniqueFd fd) const {
    const auto stored = std::ranges::find(stored_, name, [](const auto& each) { return each.first; });
    ASSERT_NE(stored, stored_.end());
    stored->second = std::move(fd);
  }
  /// All that has come.
  void drain() const {
    while (!next(std::chrono::milliseconds(0)).empty()) {
    }
  }

 private:
  [[nodiscard]] std::string receive() const {
    std::string text(4096, '\0');
    SocketMessage message(text);
    message.make_room();
    text.resize(
        static_cast<std::size_t>(std::max<ssize_t>(::recvmsg(fd_.get(), message.header(), MSG_CMSG_CLOEXEC), 0)));
    if (int fd = -1; !text.empty() && message.received(SCM_RIGHTS, fd)) {
      passed_.reset(fd);
    }
    return text;
  }

  std::string name_;
  UniqueFd fd_;
  mutable UniqueFd passed_;
  mutable std::vector<std::pair<std::string, UniqueFd>> stored_;
};

}  // namespace pkgfs::test
