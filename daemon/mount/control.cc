// SPDX-License-Identifier: MIT
#include "daemon/mount/control.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "core/webc/parse_json.h"
#include "daemon/cli/exit_code.h"

namespace pkgfs {
namespace {

using webc::Json;

constexpr std::string_view kControlAddress = "pkgfs-mount-";
constexpr std::array<std::string_view, 2> kControlWords{"refresh", "rollback"};
constexpr std::size_t kMostRequest = 256;
constexpr std::size_t kMostAnswer = 65536;
constexpr int kRequestMs = 200;  // the caller sends it at once
/// For a process that may not ask: it blocks others meanwhile.
constexpr int kStrangerMs = 10;
/// Longer than any download that goes on: a daemon that was stopped (SIGSTOP) doesn't answer at all.
constexpr int kAnswerMs = 30 * 60 * 1000;
/// A daemon that has just taken the mount over doesn't listen yet.
constexpr auto kListenLimit = std::chrono::seconds(2);
constexpr auto kListenPause = std::chrono::milliseconds(10);
constexpr int kWaiting = 8;  // connections that wait for the daemon

struct ControlAddress {
  sockaddr_un address{};
  socklen_t length = 0;
};

ControlAddress control_address(const std::string& connection) {
  ControlAddress made;
  made.address.sun_family = AF_UNIX;
  const std::string name = std::string(kControlAddress) + connection;
  name.copy(made.address.sun_path + 1, sizeof(made.address.sun_path) - 1);
  made.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return made;
}

std::optional<ucred> peer_of(int socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? std::optional(peer) : std::nullopt;
}

void send_json(int socket, const Json& object) {
  const std::string text = object.dump(-1, ' ', false, Json::error_handler_t::replace);
  (void)::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
}

/// Empty if none came.
std::string receive_text(int socket, std::size_t most, int limit_ms) {
  pollfd waiting{.fd = socket, .events = POLLIN, .revents = 0};
  std::string text(most, '\0');
  const ssize_t size = ::poll(&waiting, 1, limit_ms) == 1 ? ::recv(socket, text.data(), text.size(), MSG_DONTWAIT) : -1;
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  return text;
}

std::optional<ControlRequest> request_in(const std::string& text) {
  const std::optional<webc::Json> object = webc::parse_object(text);
  for (std::size_t i = 0; object && i < kControlWords.size(); ++i) {
    if (object->contains("request") && (*object)["request"] == kControlWords.at(i)) {
      return static_cast<ControlRequest>(i);
    }
  }
  return std::nullopt;
}

Json error_json(const Error& error) { return {{"error", error.chain()}, {"exit_code", to_exit_code(error.code())}}; }

ErrorCode code_of(const Json& answer) {
  for (const ErrorCode code : {ErrorCode::kUsage, ErrorCode::kNotFound, ErrorCode::kCorrupt, ErrorCode::kUnsupported,
                               ErrorCode::kResolve, ErrorCode::kLoad, ErrorCode::kPermission, ErrorCode::kBusy,
                               ErrorCode::kIo, ErrorCode::kFull, ErrorCode::kNetwork, ErrorCode::kInterrupted}) {
    if (answer.contains("exit_code") && answer["exit_code"] == to_exit_code(code)) {
      return code;
    }
  }
  return ErrorCode::kMount;
}

}  // namespace

UniqueFd listen_for_control(const std::string& connection) {
  const ControlAddress at = control_address(connection);
  UniqueFd listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (listener && (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&at.address), at.length) != 0 ||
                   ::listen(listener.get(), kWaiting) != 0)) {
    const int error = errno;
    listener.reset();
    errno = error;
  }
  return listener;
}

bool serve_control(int listener, const std::function<Json(ControlRequest)>& answer) {
  const UniqueFd socket(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) {
    return errno == EAGAIN || errno == ECONNABORTED || errno == EINTR;
  }
  const std::optional<ucred> peer = peer_of(socket.get());
  const bool may_ask = peer && (peer->uid == 0 || peer->uid == ::geteuid());
  // Before any answer: if data is left unread at the end, the peer may not get the answer.
  const std::string text = receive_text(socket.get(), kMostRequest, may_ask ? kRequestMs : kStrangerMs);
  if (!may_ask) {
    send_json(socket.get(),
              error_json(Error(ErrorCode::kPermission, "only root and the user of the mount may do this")));
    return true;
  }
  const std::optional<ControlRequest> request = request_in(text);
  if (!request) {
    send_json(socket.get(), error_json(Error(ErrorCode::kUsage, "the daemon doesn't know the request")));
    return true;
  }
  Json said;
  try {
    said = answer(*request);
  } catch (...) {
    said = error_json(current_error());
  }
  send_json(socket.get(), said);
  return true;
}

Json ask_daemon(const MountEntry& mount, ControlRequest request) {
  const std::string what = "Its daemon can't be reached";
  const ControlAddress at = control_address(connection_of(mount.device));
  const UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const timeval limit{.tv_sec = 10, .tv_usec = 0};  // connect waits while other connections do
  if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0) {
    throw system_error(what, errno);
  }
  const auto deadline = std::chrono::steady_clock::now() + kListenLimit;
  while (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&at.address), at.length) != 0) {
    const int error = errno;
    if (error == ECONNREFUSED && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(kListenPause);
      continue;
    }
    if (error == EAGAIN) {
      throw Error(ErrorCode::kBusy, {what, "it is busy with other requests to this mount; ask again later"});
    }
    throw error == ECONNREFUSED
        ? Error(ErrorCode::kMount,
                {what,
                 "nothing listens for requests to this mount: its daemon is of an older version, runs in another "
                 "network namespace, or has ended"})
        : system_error(what, error);
  }
  // Any process may take the name of the socket before the daemon does.
  const std::optional<ucred> peer = peer_of(socket.get());
  if (!peer || (peer->uid != 0 && peer->uid != user_of(mount))) {
    throw Error(ErrorCode::kPermission, {what, "the process that listens in its place is of another user"});
  }
  send_json(socket.get(), {{"request", kControlWords.at(static_cast<std::size_t>(request))}});
  const std::optional<webc::Json> answer = webc::parse_object(receive_text(socket.get(), kMostAnswer, kAnswerMs));
  if (!answer) {
    throw Error(ErrorCode::kMount,
                "its daemon has ended, doesn't answer within 30 minutes, or answers nothing that can be understood");
  }
  if (const auto error = answer->find("error"); error != answer->end()) {
    std::vector<std::string> chain;
    for (const Json& line : *error) {
      chain.push_back(line.is_string() ? line.get<std::string>() : "?");
    }
    chain.resize(std::max<std::size_t>(chain.size(), 1));
    throw Error(code_of(*answer), std::move(chain));
  }
  return *answer;
}

}  // namespace pkgfs
