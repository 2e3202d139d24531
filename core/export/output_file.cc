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

/// A name beside `path` that no other file is likely to have.
std::string hidden_name(const std::string& path) {
  std::random_device random;
  std::array<char, 32> ending{};
  std::snprintf(ending.data(), ending.size(), ".pkgfs-%08x", static_cast<unsigned>(random()));
  return (directory_of(path) / ("." + std::filesystem::path(path).filename().string() + ending.data())).string();
}

}  // namespace

OutputFile::OutputFile(std::string path, bool replaces) : path_(std::move(path)), replaces_(replaces) {
  struct stat status{};
  if (::lstat(path_.c_str(), &status) == 0) {
    if (!S_ISREG(status.st_mode)) {
      throw Error(ErrorCode::kUsage, "\"" + path_ + "\" exists and isn't a regular file");
    }
    if (!replaces_) {
      throw Error(ErrorCode::kUsage, "\"" + path_ + "\" exists already (--force replaces it)");
    }
  }
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
  if (::renameat2(AT_FDCWD, hidden_.c_str(), AT_FDCWD, path.c_str(), replaces_ ? 0 : RENAME_NOREPLACE) != 0) {
    throw_error(errno);
  }
  hidden_.clear();
}

}  // namespace pkgfs
