// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/byte_source.h"

namespace pkgfs {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

/// The attributes as the kernel knows them, without asking the server of a network file system.
bool stat_now(int fd, unsigned mask, struct statx& status) {
  return ::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, &status) == 0;
}

std::int64_t nanoseconds(const statx_timestamp& time) { return time.tv_sec * kSecond + time.tv_nsec; }

}  // namespace

std::shared_ptr<MappedFile> MappedFile::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) {
    throw system_error("Unable to open \"" + path + "\"", errno);
  }
  return adopt(std::move(fd), path);
}

std::shared_ptr<MappedFile> MappedFile::adopt(UniqueFd fd, std::string name, Changes changes) {
  return std::shared_ptr<MappedFile>(new MappedFile(std::move(fd), std::move(name), changes));
}

std::shared_ptr<MappedFile> MappedFile::adopt(UniqueFd fd, std::string name, const Known& known) {
  auto file = adopt(std::move(fd), std::move(name));
  if (file->size() != known.size || file->modified_ != known.modified) {
    file->changed_ = true;
    // Never that of the file as it is now: otherwise a process that gets this value would take the file for intact.
    file->modified_ = known.modified == file->modified_ ? known.modified - 1 : known.modified;
    read_faults::tell_changed(file->name_);
  }
  return file;
}

MappedFile::MappedFile(UniqueFd fd, std::string name, Changes changes)
    : name_(std::move(name)), fd_(std::move(fd)), changes_(changes) {
  struct stat status{};
  if (::fstat(fd_.get(), &status) != 0) {
    throw system_error("Unable to read \"" + name_ + "\"", errno);
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::kUnsupported, "\"" + name_ + "\" is not a regular file");
  }
  modified_ = status.st_mtim.tv_sec * kSecond + status.st_mtim.tv_nsec;
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > 0) {
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd_.get(), 0);
    if (address == MAP_FAILED) {
      throw system_error("Unable to map \"" + name_ + "\"", errno);
    }
    bytes_ = {static_cast<const std::byte*>(address), size};
  }
  registration_.emplace(bytes_, fd_.get(), name_);
}

MappedFile::~MappedFile() {
  registration_.reset();
  if (!bytes_.empty()) {
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
}

bool MappedFile::damaged() const {
  return failed_.load(std::memory_order_acquire) || registration_->lost_any() || !is_intact();
}

bool MappedFile::is_intact() const {
  if (changes_ == Changes::kAllowed) {
    return true;
  }
  if (changed_.load(std::memory_order_relaxed)) {
    return false;
  }
  struct statx status;  // not initialised: this is called for each READ, and the kernel fills it
  if (!stat_now(fd_.get(), STATX_SIZE | STATX_MTIME, status) ||
      (status.stx_size == bytes_.size() && nanoseconds(status.stx_mtime) == modified_)) {
    return true;
  }
  if (!changed_.exchange(true)) {
    read_faults::tell_changed(name_);
  }
  return false;
}

std::uint64_t MappedFile::stamp() const {
  struct statx status{};
  return stat_now(fd_.get(), STATX_CTIME, status) ? static_cast<std::uint64_t>(nanoseconds(status.stx_ctime)) : 0;
}

Result<void> MappedFile::fail_read(std::uint64_t offset, std::uint64_t length, int error) const {
  failed_.store(true, std::memory_order_release);
  if (is_intact()) {
    read_faults::count(read_faults::Cause::kRead);
    failed_ranges_.failed(name_, {offset, length}, error);
  } else {
    read_faults::count(read_faults::Cause::kChanged);
  }
  return fail(EIO);
}

Result<void> MappedFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > bytes_.size() || out.size() > bytes_.size() - offset) {
    return fail(EIO);
  }
  const read_faults::Range range{offset, out.size()};
  if (failed_ranges_.is_paused(range)) {
    read_faults::count(read_faults::Cause::kRead);
    return fail(EIO);
  }
  while (!out.empty()) {
    const ssize_t count = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return fail_read(offset, out.size(), count == 0 ? ENODATA : errno);
    }
    out = out.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  if (!is_intact()) {  // asked after reading: what was read before a change is right
    read_faults::count(read_faults::Cause::kChanged);
    return fail(EIO);
  }
  failed_ranges_.succeeded(name_, range);
  return {};
}

void MappedFile::used(std::uint64_t offset, std::uint64_t length) const noexcept {
  constexpr std::uint64_t kPage = 4096;
  if (offset > bytes_.size() || length > bytes_.size() - offset) {
    return;
  }
  const std::uint64_t begin = (offset + kPage - 1) / kPage * kPage;
  const std::uint64_t end = (offset + length) / kPage * kPage;
  if (begin < end) {  // an access to a page of the file brings it back
    (void)::madvise(const_cast<std::byte*>(bytes_.data()) + begin, end - begin, MADV_DONTNEED);
  }
}

bool MappedFile::read_at_once(const ByteRun& run, std::uint64_t from, std::span<std::byte> out) const {
  const std::uint64_t offset = run.offset + from;
  if (offset > bytes_.size() || out.size() > bytes_.size() - offset) {
    return false;
  }
  iovec piece{.iov_base = out.data(), .iov_len = out.size()};
  if (can_ask_.load(std::memory_order_relaxed)) {
    const ssize_t count = ::preadv2(fd_.get(), &piece, 1, static_cast<off_t>(offset), RWF_NOWAIT);
    if (count >= 0 || errno != EOPNOTSUPP) {
      if (count != static_cast<ssize_t>(out.size()) || !is_intact()) {
        return false;
      }
      failed_ranges_.succeeded(name_, {offset, out.size()});
      return true;
    }
    can_ask_.store(false, std::memory_order_relaxed);
  }
  return read(offset, out).has_value();
}

Result<void> MemoryBytes::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > bytes_.size() || out.size() > bytes_.size() - offset) {
    return fail(EIO);
  }
  std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
  return {};
}

}  // namespace pkgfs
