// SPDX-License-Identifier: MIT
#include "core/base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <random>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/error.h"

namespace pkgfs {
namespace {

/// Removes a file at the end of its scope, unless `keep` is called.
class Unlinker {
 public:
  explicit Unlinker(std::string path) : path_(std::move(path)) {}
  ~Unlinker() {
    if (!path_.empty()) {
      ::unlink(path_.c_str());
    }
  }
  Unlinker(const Unlinker&) = delete;
  Unlinker& operator=(const Unlinker&) = delete;
  void keep() { path_.clear(); }

 private:
  std::string path_;
};

/// The content of the file at `path`; nothing if there is none.
std::optional<std::string> read_file(const std::string& path, int flags, std::size_t limit) {
  const std::string failed = "Unable to read '" + path + "'";
  // O_NONBLOCK: opening a FIFO of this name must not wait for its writer.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return std::nullopt;
    }
    if (errno == ELOOP && (flags & O_NOFOLLOW) != 0) {
      throw Error(ErrorCode::kCorrupt, failed + ": it is a symbolic link, which pkgfs doesn't follow there");
    }
    throw system_error(failed, errno);
  }
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) {
    throw system_error(failed, errno);
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::kIo, failed + ": it isn't a regular file");
  }
  return read_to_end(fd.get(), limit, failed);
}

/// Creates a file with a random name beside `path`, and sets `name`. mkostemp(3) takes no mode.
UniqueFd new_file_beside(const std::string& path, ::mode_t mode, std::string& name) {
  constexpr int kAttempts = 100;
  std::random_device random;
  UniqueFd fd;
  for (int i = 0; i < kAttempts && !fd; ++i) {
    std::array<char, 16> ending{};
    std::snprintf(ending.data(), ending.size(), ".%08x", static_cast<unsigned>(random()));
    name = path + ending.data();
    fd.reset(::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
    if (!fd && errno != EEXIST) {
      break;
    }
  }
  return fd;
}

}  // namespace

void write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      throw system_error("Unable to write '" + path + "'", errno);
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void write_all_at(int fd, std::uint64_t offset, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = ::pwrite(fd, text.data(), text.size(), static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      throw system_error("Unable to write '" + path + "'", errno);
    }
    text.remove_prefix(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
}

void read_pieces(int fd, const std::string& path, FunctionRef<void(std::span<const std::byte>)> consume) {
  constexpr std::size_t kPiece = 1U << 20U;
  std::vector<std::byte> piece(kPiece);
  for (std::uint64_t offset = 0;;) {
    throw_if_cancelled();
    const ssize_t got = ::pread(fd, piece.data(), piece.size(), static_cast<off_t>(offset));
    if (got == 0) {
      return;
    }
    if (got > 0) {
      consume(std::span<const std::byte>(piece).first(static_cast<std::size_t>(got)));
      offset += static_cast<std::uint64_t>(got);
    } else if (errno != EINTR) {
      throw system_error("Unable to read '" + path + "'", errno);
    }
  }
}

/// A file in the place of a directory gives ENOTDIR, which `system_error` reports as a missing package: kIo is right.
Error cannot_create_directory(const std::string& path, int errnum) {
  Error failure = system_error("Unable to create directory '" + path + "'", errnum);
  return failure.code() == ErrorCode::kNotFound ? Error(ErrorCode::kIo, failure) : failure;
}

void make_private_directory(const std::string& path) {
  const std::filesystem::path whole(path);
  std::error_code unknown;
  if (std::filesystem::is_directory(whole, unknown)) {
    return;
  }
  std::filesystem::path so_far;
  for (const auto& part : whole) {
    so_far /= part;
    if (::mkdir(so_far.c_str(), 0700) != 0 && errno != EEXIST) {
      const int errnum = errno;
      std::error_code ignored;
      if (!std::filesystem::is_directory(so_far,
                                         ignored)) {  // mkdir on an existing "/" may give EROFS, on "/home" EACCES
        throw cannot_create_directory(path, errnum);
      }
    }
  }
  std::error_code ignored;
  if (!std::filesystem::is_directory(whole, ignored)) {
    throw cannot_create_directory(path, ENOTDIR);
  }
}

void write_file_atomically(const std::string& path, std::string_view text, Durability durability, ::mode_t mode) {
  std::string temporary;
  const UniqueFd fd = new_file_beside(path, mode, temporary);
  if (!fd) {
    throw system_error("Unable to write '" + path + "'", errno);
  }
  Unlinker unlinker(temporary);
  struct stat before{};
  if (::lstat(path.c_str(), &before) == 0 && S_ISREG(before.st_mode)) {
    ::fchmod(fd.get(), before.st_mode & 0777U);
  }
  write_all(fd.get(), text, path);
  if ((durability == Durability::kSynced && ::fsync(fd.get()) != 0) || ::rename(temporary.c_str(), path.c_str()) != 0) {
    throw system_error("Unable to write '" + path + "'", errno);
  }
  unlinker.keep();
}

void write_named_file(const std::string& path, std::string_view text) {
  namespace stdfs = std::filesystem;
  std::error_code unknown;
  const stdfs::file_status status = stdfs::status(path, unknown);
  const bool is_device =
      path.starts_with("/dev/") || path.starts_with("/proc/");  // a link there may lead to a pipe or a terminal
  if (is_device || (stdfs::exists(status) && !stdfs::is_regular_file(status) && !stdfs::is_directory(status))) {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY));
    if (!fd) {
      throw system_error("Unable to write '" + path + "'", errno);
    }
    write_all(fd.get(), text, path);
    return;
  }
  constexpr ::mode_t kForAll = 0666;
  constexpr int kMostLinks = 40;  // the limit of the kernel
  stdfs::path target = path;
  for (int i = 0; i < kMostLinks && stdfs::is_symlink(target, unknown); ++i) {
    target = target.parent_path() / stdfs::read_symlink(target, unknown);  // the target need not exist
  }
  write_file_atomically(target.string(), text, Durability::kSynced, kForAll);
}

std::string read_to_end(int fd, std::size_t limit, const std::string& failed) {
  std::string text;
  std::array<char, 16384> buffer{};
  while (true) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      throw system_error(failed, errno);
    }
    if (got == 0) {
      return text;
    }
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > limit) {
      throw Error(ErrorCode::kCorrupt, failed + ": it has more than " + std::to_string(limit) + " bytes");
    }
  }
}

bool is_below(const std::filesystem::path& path, const std::filesystem::path& directory) {
  return std::mismatch(directory.begin(), directory.end(), path.begin(), path.end()).first == directory.end();
}

std::optional<std::string> read_small_file(const std::string& path, std::size_t limit) {
  return read_file(path, 0, limit);
}

std::optional<std::string> read_own_file(const std::string& path, std::size_t limit) {
  return read_file(path, O_NOFOLLOW, limit);
}

std::optional<std::string> read_kernel_file(const std::string& path) {
  constexpr std::size_t kMostText = 65'536;
  try {
    return read_small_file(path, kMostText);
  } catch (const Error&) {
    return std::nullopt;
  }
}

void sync_directory(const std::string& directory) {
  const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) {
    throw system_error("Unable to sync the directory '" + directory + "'", errno);
  }
}

}  // namespace pkgfs
