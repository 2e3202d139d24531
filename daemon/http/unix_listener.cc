// SPDX-License-Identifier: MIT
#include "daemon/http/unix_listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <optional>

#include "core/base/error.h"

namespace pkgfs {
namespace {

constexpr int kBacklog = 256;
constexpr mode_t kOwnerOnly = 0177;
constexpr const char* kInUse = "another process listens there";

sockaddr_un address_of(const std::string& path, const std::string& what) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    throw Error(ErrorCode::kUsage,
                {what, "the path of a socket has at most " + std::to_string(sizeof(address.sun_path) - 1) + " bytes"});
  }
  path.copy(address.sun_path, path.size());
  return address;
}

UniqueFd new_socket(const std::string& what) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) {
    throw system_error(what, errno);
  }
  return fd;
}

/// Removes a socket at which no process listens any more.
void remove_stale(const std::string& path, const sockaddr_un& address, const std::string& what) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) {
    return;  // bind() reports everything else
  }
  if (!S_ISSOCK(status.st_mode)) {
    throw Error(ErrorCode::kUsage,
                {what, "the file that is there is not a socket: move it away, or choose another path"});
  }
  const UniqueFd probe = new_socket(what);
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 || errno == EAGAIN) {
    throw Error(ErrorCode::kBusy, {what, kInUse});
  }
  if (errno != ECONNREFUSED || ::unlink(path.c_str()) != 0) {
    throw system_error(what, errno);
  }
}

/// Returns an errno number, or 0.
int bind_to(int fd, const sockaddr_un& address, UnixListener::Access access) {
  const bool changes_mask = access == UnixListener::Access::kOwnerOnly;
  const mode_t before = changes_mask ? ::umask(kOwnerOnly) : 0;
  const int error = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ? 0 : errno;
  if (changes_mask) {
    ::umask(before);
  }
  return error;
}

}  // namespace

UnixListener::UnixListener(const std::string& path, const std::string& what, Access access)
    : path_(std::filesystem::absolute(path)) {
  const sockaddr_un address = address_of(path_, what);
  remove_stale(path_, address, what);
  fd_ = new_socket(what);
  if (const int error = bind_to(fd_.get(), address, access); error == EADDRINUSE) {
    throw Error(ErrorCode::kBusy, {what, kInUse});
  } else if (error != 0) {
    throw system_error(what, error);
  }
  struct stat status{};
  if (::listen(fd_.get(), kBacklog) != 0 || ::lstat(path_.c_str(), &status) != 0) {
    const int error = errno;
    ::unlink(path_.c_str());
    throw system_error(what, error);
  }
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

UnixListener::~UnixListener() {
  struct stat status{};
  if (fd_ && ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

}  // namespace pkgfs
