// SPDX-License-Identifier: MIT
#include "daemon/volumes/plugin_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <system_error>

#include "core/base/error.h"

namespace pkgfs {
namespace {

constexpr int kFirstPassed = 3;  // SD_LISTEN_FDS_START

std::optional<int> number(const std::optional<std::string>& text) {
  int value = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), value).ec != std::errc()) {
    return std::nullopt;
  }
  return value;
}

bool is_listening_unix_socket(int fd) {
  sockaddr_un address{};
  socklen_t length = sizeof(address);
  int listens = 0;
  socklen_t size = sizeof(listens);
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0 && address.sun_family == AF_UNIX &&
         ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0;
}

}  // namespace

PluginSocket::PluginSocket(const std::string& path) {
  const std::string what = "Unable to listen at \"" + std::filesystem::absolute(path).string() + "\"";
  std::error_code failed;
  std::filesystem::create_directories(std::filesystem::absolute(path).parent_path(), failed);
  if (failed) {
    throw system_error(what, failed.value());
  }
  own_.emplace(path, what, UnixListener::Access::kOwnerOnly);
}

std::optional<PluginSocket> PluginSocket::passed(const Environment& environment) {
  const std::optional<int> count = number(environment("LISTEN_FDS"));
  if (number(environment("LISTEN_PID")) != static_cast<int>(::getpid()) || !count || *count == 0) {
    return std::nullopt;
  }
  if (*count != 1) {
    throw Error(ErrorCode::kUsage, std::to_string(*count) + " sockets were passed to pkgfs; it takes one");
  }
  UniqueFd fd(kFirstPassed);
  ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
  if (!is_listening_unix_socket(fd.get())) {
    throw Error(ErrorCode::kUsage, "the file descriptor that was passed to pkgfs is not a listening Unix socket");
  }
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  return PluginSocket(std::move(fd));
}

}  // namespace pkgfs
