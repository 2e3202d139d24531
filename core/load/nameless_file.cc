// SPDX-License-Identifier: MIT
#include "core/load/nameless_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/base/error.h"

namespace pkgfs {

namespace {

constexpr std::size_t kBuffer = 1U << 20U;

std::string temporary_directory() {
  std::error_code failed;
  const auto path = std::filesystem::temp_directory_path(failed);
  return failed ? "/tmp" : path.string();
}

[[noreturn]] void fail_to_write(int errnum) {
  throw system_error("Unable to write a temporary file below \"" + temporary_directory() + "\"", errnum);
}

}  // namespace

UniqueFd nameless_file() {
  const std::string directory = temporary_directory();
  UniqueFd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd) {
    const int failed = errno;
    fd.reset(::memfd_create("pkgfs", MFD_CLOEXEC));
    if (!fd) {
      throw system_error("a file below \"" + directory + "\"", failed);
    }
  }
  return fd;
}

void Spool::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto piece = bytes.substr(0, kBuffer);
    bytes.remove_prefix(piece.size());
    buffer_ += piece;
    if (buffer_.size() >= kBuffer) {
      flush();
    }
  }
}

void Spool::skip(std::uint64_t count) {
  if (count > 0) {
    flush();
    written_ += count;
  }
}

void Spool::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    const auto count = ::pwrite(fd_.get(), rest.data(), rest.size(), static_cast<off_t>(written_));
    if (count < 0 && errno != EINTR) {
      fail_to_write(errno);
    }
    if (count > 0) {
      rest.remove_prefix(static_cast<std::size_t>(count));
      written_ += static_cast<std::uint64_t>(count);
    }
  }
  buffer_.clear();
}

std::shared_ptr<const ByteSource> Spool::finish(std::string name) {
  flush();
  if (::ftruncate(fd_.get(), static_cast<off_t>(written_)) != 0) {  // a hole at the end is part of it
    fail_to_write(errno);
  }
  return MappedFile::adopt(std::move(fd_), std::move(name));
}

}  // namespace pkgfs
