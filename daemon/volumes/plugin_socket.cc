// SPDX-License-Identifier: MIT
#include "daemon/volumes/plugin_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "core/base/error.h"

namespace pkgfs {
namespace {

constexpr int kBacklog = 128;
constexpr int kFirstPassed = 3;
constexpr mode_t kOwnerOnly = 0177;  // of root, who may mount anything

std::string what(const std::string& path) { return "Unable to listen at \"" + path + "\""; }

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    throw Error(ErrorCode::kUsage, {what(path), "the path of a socket has at most " +
                                                    std::to_string(sizeof(address.sun_path) - 1) + " bytes"});
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

UniqueFd new_socket(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) {
    throw system_error(what(path), errno);
  }
  return fd;
}

/// Removes what a plugin that was killed has left.
void clear_stale(const std::string& path, const sockaddr_un& address) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) {
    return;
  }
  if (!S_ISSOCK(status.st_mode)) {
    throw Error(ErrorCode::kUsage,
                {what(path), "there is something that isn't a socket: move it away, or choose another --socket"});
  }
  const UniqueFd probe = new_socket(path);
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 || errno == EAGAIN) {
    throw Error(ErrorCode::kBusy, {what(path), "another program, maybe another pkgfs, listens there"});
  }
  if (errno != ECONNREFUSED) {
    throw system_error(what(path), errno);
  }
  if (::unlink(path.c_str()) != 0) {
    throw system_error(what(path), errno);
  }
}

std::optional<int> number(const std::optional<std::string>& text) {
  int value = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), value).ec != std::errc()) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

PluginSocket::PluginSocket(const std::string& path) : path_(std::filesystem::absolute(path).string()) {
  const sockaddr_un address = address_of(path_);
  std::error_code failed;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), failed);
  if (failed) {
    throw system_error(what(path_), failed.value());
  }
  clear_stale(path_, address);
  fd_ = new_socket(path_);
  const mode_t before = ::umask(kOwnerOnly);
  const int bound = ::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int error = errno;
  ::umask(before);
  if (bound != 0) {
    throw system_error(what(path_), error);
  }
  struct stat status{};
  if (::listen(fd_.get(), kBacklog) != 0 || ::lstat(path_.c_str(), &status) != 0) {
    throw system_error(what(path_), errno);
  }
  inode_ = status.st_ino;
}

std::optional<PluginSocket> PluginSocket::passed(const Environment& environment) {
  const std::optional<int> count = number(environment("LISTEN_FDS"));
  if (number(environment("LISTEN_PID")) != static_cast<int>(::getpid()) || !count || *count == 0) {
    return std::nullopt;
  }
  if (*count != 1) {
    throw Error(ErrorCode::kUsage, std::to_string(*count) + " sockets were passed to pkgfs, not one");
  }
  UniqueFd fd(kFirstPassed);
  ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
  sockaddr_un address{};
  socklen_t length = sizeof(address);
  int listens = 0;
  socklen_t size = sizeof(listens);
  const bool is_ours = ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
                       address.sun_family == AF_UNIX &&
                       ::getsockopt(fd.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0;
  if (!is_ours) {
    throw Error(ErrorCode::kUsage, "the descriptor that was passed to pkgfs isn't a Unix socket that listens");
  }
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  return PluginSocket(std::move(fd));
}

PluginSocket::~PluginSocket() {
  struct stat status{};
  if (fd_ && !path_.empty() && ::lstat(path_.c_str(), &status) == 0 && status.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

}  // namespace pkgfs
