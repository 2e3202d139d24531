// SPDX-License-Identifier: MIT
#include "daemon/mount/keeperd.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <span>

#include "core/base/system_limits.h"
#include "daemon/keeper/socket_message.h"

namespace pkgfs {
namespace {

constexpr int kReplyMs = 5000;
constexpr int kPendingMs = 1000;
constexpr int kLetGoOfAllMs = 1000;

/// Sends one message. False, with errno: that failed.
bool send_part(int socket, keeper::Registration text, std::span<const int> descriptors) {
  iovec bytes{&text, sizeof(text)};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(keeper::kDescriptorsAtOnce * sizeof(int))> space{};
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  if (!descriptors.empty()) {
    header.msg_control = space.data();
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const first = CMSG_FIRSTHDR(&header);
    first->cmsg_level = SOL_SOCKET;
    first->cmsg_type = SCM_RIGHTS;
    first->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(first), descriptors.data(), descriptors.size_bytes());
  }
  return ::sendmsg(socket, &header, MSG_NOSIGNAL) > 0;
}

/// 0: none came in time, or pkgfs-keeperd has ended.
char reply_of(int socket, int limit_ms) {
  pollfd waiting{.fd = socket, .events = POLLIN, .revents = 0};
  char reply = 0;
  return ::poll(&waiting, 1, limit_ms) == 1 && ::recv(socket, &reply, 1, MSG_DONTWAIT) == 1 ? reply : '\0';
}

}  // namespace

// NOLINTBEGIN(concurrency-mt-unsafe): no thread changes the environment
std::string keeperd_socket() {
  if (const char* const named = std::getenv(keeper::kSocketVariable); named != nullptr) {
    return named;
  }
  if (::geteuid() == 0) {
    return keeper::kSystemSocket;
  }
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  return runtime == nullptr ? std::string() : std::string(runtime) + "/" + keeper::kUserSocket;
}
// NOLINTEND(concurrency-mt-unsafe)

UniqueFd connect_to_keeperd(const std::string& path, std::string& why) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    why = path.empty() ? "neither PKGFS_KEEPERD nor XDG_RUNTIME_DIR is set" : "the path of its socket is too long";
    return {};
  }
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const timeval limit{.tv_sec = 2, .tv_usec = 0};  // it may be stopped
  ucred peer{};
  socklen_t size = sizeof(peer);
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0 ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    why = "it can't be reached at \"" + path + "\": " + errno_text(errno);
    return {};
  }
  if (peer.uid != ::geteuid()) {
    why = "the process that listens at \"" + path + "\" is of another user";
    return {};
  }
  return socket;
}

std::string Keeperd::hold(const std::vector<int>& descriptors, keeper::Kind kind) {
  std::string why;
  is_silent_ = false;
  if (!socket_) {
    socket_ = connect_to_keeperd(path_, why);
  }
  if (!socket_) {
    return why;
  }
  const keeper::Registration text{.kind = kind, .descriptors = static_cast<std::uint32_t>(descriptors.size())};
  for (std::span<const int> rest(descriptors); !rest.empty();) {
    const auto part = rest.first(std::min(rest.size(), keeper::kDescriptorsAtOnce));
    rest = rest.subspan(part.size());
    if (!send_part(socket_.get(), text, part)) {
      const int error = errno;
      socket_.reset();
      return "it can't be told of the mount: " + errno_text(error);
    }
  }
  switch (reply_of(socket_.get(), kind == keeper::kPending ? kPendingMs : kReplyMs)) {
    case keeper::kHeld:
      return {};
    case keeper::kTooMany:
      why = "it holds too many mounts or files already";
      break;
    case keeper::kWrong:
      why = "it doesn't understand this version of pkgfs";
      break;
    default:
      is_silent_ = true;
      why = "it doesn't answer";
  }
  socket_.reset();
  return why;
}

void Keeperd::let_go() {
  if (socket_ && send_part(socket_.get(), {.kind = keeper::kEnds}, {})) {
    (void)reply_of(socket_.get(), kLetGoOfAllMs);
  }
  socket_.reset();
}

}  // namespace pkgfs
