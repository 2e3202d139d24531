// SPDX-License-Identifier: MIT
#include "core/base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "core/base/error.h"

namespace pkgfs {

FileLock::FileLock(PrivateDirectory directory, std::string name, const CancelFlag& cancel)
    : directory_(std::move(directory)), name_(std::move(name)) {
  constexpr auto kStep = std::chrono::milliseconds(50);
  const std::string path = directory_.path_of(name_);
  while (true) {
    try {
      fd_ = directory_.open_file(name_, PrivateDirectory::Content::kNone);
    } catch (Error& error) {
      throw std::move(error).context("Unable to lock '" + path + "'");
    }
    if (::flock(fd_.get(), LOCK_EX | LOCK_NB) == 0) {
      if (is_in_place()) {
        return;
      }
      continue;
    }
    if (errno != EWOULDBLOCK && errno != EINTR) {
      throw system_error("Unable to lock '" + path + "'", errno);
    }
    if (cancel.wait_for(kStep)) {
      throw Error(ErrorCode::kInterrupted, "interrupted while waiting for '" + path + "'");
    }
  }
}

/// The process that held the lock has removed the file. If ours is not in the directory any more, its lock excludes no
/// process.
bool FileLock::is_in_place() const {
  struct stat ours{};
  struct stat there{};
  return ::fstat(fd_.get(), &ours) == 0 &&
         ::fstatat(directory_.fd(), name_.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && ours.st_ino == there.st_ino &&
         ours.st_dev == there.st_dev;
}

FileLock::~FileLock() {
  if (fd_) {
    directory_.remove(name_);  // while the lock is still held: closing the descriptor releases it
  }
}

}  // namespace pkgfs
