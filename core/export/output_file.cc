// SPDX-License-Identifier: MIT
#include "core/export/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <random>
#include <utility>

#include "core/base/error.h"

namespace pkgfs {

namespace {

constexpr ::mode_t kForAll = 0666;  // less the umask

std::filesystem::path directory_of(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

/// A name beside `path` that no other file is likely to have. It is short, because that of `path` may have 255 bytes.
std::string hidden_name(const std::string& path) {
  std::random_device random;
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), ".pkgfs-%08x", static_cast<unsigned>(random()));
  return (directory_of(path) / name.data()).string();
}

/// Renames `from` to `to`, which must not exist. Returns 0 or an errno number.
int rename_to_new(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) {
    return 0;
  }
  if (errno != EINVAL && errno != ENOSYS) {
    return errno;
  }
  // Network file systems have no RENAME_NOREPLACE. A link doesn't replace anything, either.
  if (::linkat(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), 0) != 0) {
    return errno;
  }
  ::unlink(from.c_str());
  return 0;
}

}  // namespace

void OutputFile::check(const std::string& path, bool replaces) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) == 0) {
    if (!S_ISREG(status.st_mode)) {
      throw Error(ErrorCode::kUsage, "\"" + path + "\" exists and isn't a regular file");
    }
    if (!replaces) {
      throw Error(ErrorCode::kUsage, "\"" + path + "\" exists already (--force replaces it)");
    }
  } else if (errno != ENOENT) {
    throw system_error("Unable to write \"" + path + "\"", errno);
  }
  if (::faccessat(AT_FDCWD, directory_of(path).c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    throw system_error("Unable to write \"" + path + "\"", errno);
  }
}

OutputFile::OutputFile(std::string path, bool replaces) : path_(std::move(path)), replaces_(replaces) {
  check(path_, replaces_);
  fd_.reset(::open(directory_of(path_).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, kForAll));
  if (!fd_ && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
    hidden_ = hidden_name(path_);
    fd_.reset(::open(hidden_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kForAll));
  }
  if (!fd_) {
    hidden_.clear();
    throw_error(errno);
  }
}

OutputFile::~OutputFile() {
  if (!hidden_.empty()) {
    ::unlink(hidden_.c_str());
  }
}

void OutputFile::throw_error(int errnum) const {
  if (errnum == EEXIST) {
    throw Error(ErrorCode::kUsage, "\"" + path_ + "\" exists already (--force replaces it)");
  }
  throw system_error("Unable to write \"" + path_ + "\"", errnum);
}

void OutputFile::publish_as(const std::string& path) {
  if (::fsync(fd_.get()) != 0) {
    throw_error(errno);
  }
  if (hidden_.empty()) {
    const std::string target = replaces_ ? hidden_name(path) : path;
    const std::string open_file = "/proc/self/fd/" + std::to_string(fd_.get());
    if (::linkat(AT_FDCWD, open_file.c_str(), AT_FDCWD, target.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      throw_error(errno);
    }
    if (!replaces_) {
      return;
    }
    hidden_ = target;
  }
  const int error = !replaces_                                     ? rename_to_new(hidden_, path)
                    : ::rename(hidden_.c_str(), path.c_str()) != 0 ? errno
                                                                   : 0;
  if (error != 0) {
    throw_error(error);
  }
  hidden_.clear();
}

}  // namespace pkgfs
