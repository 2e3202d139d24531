// SPDX-License-Identifier: MIT
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <utility>

#include "daemon/keeper/protocol.h"
#include "daemon/keeper/socket_message.h"

namespace pkgfs::keeper {

inline void close_if_open(int& descriptor) {
  if (descriptor >= 0) {
    ::close(descriptor);
    descriptor = -1;
  }
}

/// The processes that may ask a keeper for an upgrade. No function here waits for another process.
class UpgradeRequests {
 public:
  /// Listens at kAddress. `connection`: the number of the FUSE connection. Does nothing, with errno, if the keeper of
  /// the daemon before still listens there; another attempt must follow.
  void listen(const char* connection) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const int size = std::snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "%s%s", kAddress, connection);
    listener_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + static_cast<std::size_t>(size));
    if (listener_ >= 0 &&
        (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), length) != 0 || ::listen(listener_, 1) != 0)) {
      close_if_open(listener_);
    }
  }

  /// Becomes readable when a process has connected; -1: this process doesn't listen.
  [[nodiscard]] int listener() const { return listener_; }
  /// Becomes readable when the process that was accepted asks for something, or has ended; -1: there is none.
  [[nodiscard]] int asking() const { return asking_; }

  /// Accepts a process if `wanted`, and if it may ask. What it asks for may come much later: other processes may have
  /// the CPU. The newest process is taken, in case one never asks for anything.
  void accept(bool wanted) {
    int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    ucred peer{};
    socklen_t size = sizeof(peer);
    if (socket >= 0 && wanted && ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
        (peer.uid == 0 || peer.uid == ::geteuid())) {
      std::swap(socket, asking_);
    }
    close_if_open(socket);
  }

  /// Receives kUpgrade and its two descriptors from the process that was accepted. Returns the connection, which is the
  /// caller's now. -1: another message came, or that process has ended.
  [[nodiscard]] int receive(int (&descriptors)[2]) {
    char text[kMessageBytes]{};
    SocketMessage message(text);
    message.make_room();
    int socket = std::exchange(asking_, -1);
    const ssize_t bytes = ::recvmsg(socket, message.header(), MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    pollfd still{.fd = socket, .events = 0, .revents = 0};
    (void)::poll(&still, 1, 0);
    if (bytes > 0 && text[0] == kUpgrade && (still.revents & POLLHUP) == 0 &&
        message.received(SCM_RIGHTS, descriptors)) {
      return socket;
    }
    if (bytes >= 0) {  // an empty message may have some, too
      message.close_descriptors();
    }
    close_if_open(socket);
    return -1;
  }

  void close() {
    close_if_open(listener_);
    close_if_open(asking_);
  }

 private:
  int listener_ = -1;
  int asking_ = -1;
};

}  // namespace pkgfs::keeper
