// SPDX-License-Identifier: MIT
#include "daemon/mount/keeper_connection.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "daemon/keeper/protocol.h"
#include "daemon/keeper/socket_message.h"
#include "daemon/mount/guarding.h"
#include "daemon/mount/mount_table.h"

namespace pkgfs {
namespace {

using Clock = std::chrono::steady_clock;

/// For a daemon that serves, but whose keeper has only just been started.
constexpr auto kKeeperLimit = std::chrono::seconds(5);
constexpr auto kKeeperPause = std::chrono::milliseconds(5);
/// For a keeper, to read what it is asked. One that was stopped (SIGSTOP) hasn't as long.
constexpr std::chrono::seconds kReadLimit{10};
constexpr std::chrono::seconds kStoppedLimit{2};
constexpr auto kReadPause = std::chrono::milliseconds(1);

/// Whether a keeper is there, or is being started.
bool is_kept(const MountStatus& mount) {
  const auto kept = mount.statistics.is_object() ? mount.statistics.find("kept") : mount.statistics.end();
  return kept != mount.statistics.end() && kept->is_boolean() && kept->get<bool>();
}

}  // namespace

KeeperConnection connect_to_keeper(const MountStatus& mount) {
  const std::string name = keeper::kAddress + connection_of(mount.entry.device);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const timeval limit{.tv_sec = kStoppedLimit.count(), .tv_usec = 0};  // a keeper that is stopped has a short queue
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  const auto deadline = Clock::now() + (is_kept(mount) ? kKeeperLimit : Clock::duration::zero());
  while (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    if (const int errnum = errno; errnum != ECONNREFUSED || Clock::now() >= deadline) {
      throw system_error("It has no keeper (--keeper), or its keeper can't be reached", errnum);
    }
    std::this_thread::sleep_for(kKeeperPause);
  }
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != user_of(mount.entry) ||
      peer.pid == 0) {
    throw Error(ErrorCode::kPermission, "the process at the address of its keeper isn't of its user, or is elsewhere");
  }
  return {std::move(socket), peer.pid};
}

bool send_upgrade(const KeeperConnection& connection, int program, int control) {
  std::array<char, keeper::kMessageBytes> text{keeper::kUpgrade, 0};
  SocketMessage message(text);
  message.attach(std::array{program, control});
  return ::sendmsg(connection.socket.get(), message.header(), MSG_NOSIGNAL) > 0;
}

bool is_read(const KeeperConnection& connection) {
  const int socket = connection.socket.get();
  const auto begin = Clock::now();
  for (int unread = 0; ::ioctl(socket, SIOCOUTQ, &unread) == 0 && unread > 0; std::this_thread::sleep_for(kReadPause)) {
    const auto waited = Clock::now() - begin;
    if (waited >= kReadLimit || (waited >= kStoppedLimit && has_stopped(connection.keeper))) {
      throw Error(ErrorCode::kBusy, "its keeper doesn't answer: it may have been stopped (SIGSTOP)");
    }
  }
  int failed = 0;
  socklen_t size = sizeof(failed);
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &failed, &size) == 0 && failed == 0;
}

}  // namespace pkgfs
