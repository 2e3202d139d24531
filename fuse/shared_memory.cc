// SPDX-License-Identifier: MIT
#include "fuse/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "core/base/error.h"

namespace pkgfs::fuse {
namespace {

/// Without F_SEAL_SHRINK, another process could cut the file, and access to the mapping would raise SIGBUS.
constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;

}  // namespace

SharedMemory::SharedMemory(UniqueFd file, std::size_t bytes, const std::string& what) : file_(std::move(file)) {
  const int how = file_ ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
  void* const place = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, how, file_.get(), 0);
  if (place == MAP_FAILED) {
    throw system_error(what, errno);
  }
  bytes_ = {static_cast<std::byte*>(place), bytes};
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : file_(std::move(other.file_)), bytes_(std::exchange(other.bytes_, {})) {}

SharedMemory::~SharedMemory() {
  if (!bytes_.empty()) {
    ::munmap(bytes_.data(), bytes_.size());
  }
}

SharedMemory SharedMemory::create(const char* name, std::size_t bytes, const std::string& what) {
  UniqueFd file(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0 ||
      ::fcntl(file.get(), F_ADD_SEALS, kSizeSeals | F_SEAL_SEAL) != 0) {
    throw system_error(what, errno);
  }
  return {std::move(file), bytes, what};
}

SharedMemory SharedMemory::adopt(UniqueFd file, std::size_t bytes, const std::string& what) {
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) {
    throw system_error(what, errno);
  }
  const int seals = ::fcntl(file.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kSizeSeals) != kSizeSeals) {
    throw Error(ErrorCode::kCorrupt, {what, "the size of its file isn't sealed"});
  }
  if (std::cmp_not_equal(status.st_size, bytes)) {
    throw Error(ErrorCode::kUnsupported,
                {what, "it has " + std::to_string(status.st_size) + " bytes instead of " + std::to_string(bytes)});
  }
  return {std::move(file), bytes, what};
}

SharedMemory SharedMemory::unshared(std::size_t bytes, const std::string& what) { return {UniqueFd(), bytes, what}; }

bool SharedMemory::allocate(std::size_t offset, std::size_t bytes) const {
  if (!file_) {
    return true;
  }
  int result = -1;
  do {
    result = ::fallocate(file_.get(), 0, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);  // server threads get signals
  return result == 0;
}

}  // namespace pkgfs::fuse
