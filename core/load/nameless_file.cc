// SPDX-License-Identifier: MIT
#include "core/load/nameless_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"

namespace pkgfs {

namespace {

constexpr std::size_t kBuffer = 1U << 20U;

std::string temporary_directory() {
  std::error_code failed;
  const auto path = std::filesystem::temp_directory_path(failed);
  return failed ? "/tmp" : path.string();
}

/// Returns an empty descriptor and sets errno if that fails.
UniqueFd open_nameless(const std::string& directory) {
  UniqueFd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {  // as network file systems
    std::string name = directory + "/.pkgfs-XXXXXX";
    fd.reset(::mkostemp(name.data(), O_CLOEXEC));
    if (fd) {
      ::unlink(name.c_str());
    }
  }
  return fd;
}

}  // namespace

UniqueFd nameless_file() {
  const std::string directory = temporary_directory();
  UniqueFd fd = open_nameless(directory);
  if (!fd) {
    const int failed = errno;
    fd.reset(::memfd_create("pkgfs", MFD_CLOEXEC));
    if (!fd) {
      throw system_error("a file below \"" + directory + "\"", failed);
    }
  }
  return fd;
}

UniqueFd nameless_file(const std::string& directory) {
  UniqueFd fd = open_nameless(directory.empty() ? temporary_directory() : directory);
  if (!fd) {
    throw system_error("Unable to make " + nameless_file_name(directory), errno);
  }
  return fd;
}

std::string nameless_file_name(const std::string& directory) {
  return "a temporary file in " + (directory.empty() ? temporary_directory() : directory);
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
  write_all_at(fd_.get(), written_, buffer_, nameless_file_name(""));
  written_ += buffer_.size();
  buffer_.clear();
}

std::shared_ptr<const ByteSource> Spool::finish(std::string name) {
  flush();
  if (::ftruncate(fd_.get(), static_cast<off_t>(written_)) != 0) {  // a hole at the end is part of it
    throw system_error("Unable to write " + nameless_file_name(""), errno);
  }
  return MappedFile::adopt(std::move(fd_), std::move(name));
}

}  // namespace pkgfs
