// SPDX-License-Identifier: MIT
#include "core/lazy/sparse_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/cache/cache_files.h"

namespace pkgfs {
namespace {

Error data_error(const char* what, const std::string& path, int errnum) {
  Error error = system_error(std::string("Unable to ") + what + " '" + path + "'", errnum);
  // The limit for the size of a file (ulimit -f) is as final as a full disk.
  return errnum == EFBIG ? Error(ErrorCode::kFull, error) : error;
}

/// Removes the file `name` of `directory`, if it is the open file `fd`.
void remove_if(int directory, const std::string& name, int fd) noexcept {
  struct stat ours{};
  struct stat there{};
  if (::fstat(fd, &ours) == 0 && ::fstatat(directory, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
      FileId(ours) == FileId(there)) {
    ::unlinkat(directory, name.c_str(), 0);
  }
}

}  // namespace

const std::string& SparseFile::this_boot() {
  static const std::string boot = [] {
    std::string text = read_kernel_file("/proc/sys/kernel/random/boot_id").value_or("");
    text.resize(std::min(text.find_last_not_of('\n') + 1, MapHeader::kMostBoot));
    return text;
  }();
  return boot;
}

SparseFile::SparseFile(UniqueFd directory, const std::string& key, UniqueFd data, UniqueFd map, const MapHeader& header,
                       std::string path, const std::string& map_path)
    : version_{.validator = header.validator, .size = header.size},
      path_(std::move(path)),
      data_name_(key + std::string(cache_files::kLazy)),
      map_name_(key + std::string(cache_files::kLazyMap)),
      directory_(std::move(directory)),
      data_(std::move(data)),
      map_(std::move(map), header, map_path),
      claims_(map_, data_.get(), path_) {
  ::futimens(map_.fd(), nullptr);  // used now: a leftover is removed by its age
}

SparseFile::~SparseFile() { ::futimens(map_.fd(), nullptr); }

std::uint64_t SparseFile::bytes_present() const noexcept { return map_.count().bytes(version_.size, kBlock); }

SparseFile::Claim::Claim(Claim&& other) noexcept : file_(std::exchange(other.file_, nullptr)), range_(other.range_) {}

SparseFile::Claim::~Claim() {
  if (file_ != nullptr) {
    file_->claims_.release(range_);
  }
}

std::optional<SparseFile::Claim> SparseFile::claim(BlockRange range) {
  const auto claimed = claims_.claim(range);
  return claimed ? std::optional(Claim(*this, *claimed)) : std::nullopt;
}

void SparseFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (offset > version_.size || bytes.size() > version_.size - offset) {
    throw Error(ErrorCode::kInternal, "Unable to write '" + path_ + "': more bytes than its size");
  }
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(data_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) {
      continue;
    }
    if (put <= 0) {
      throw data_error("write", path_, put == 0 ? EIO : errno);
    }
    offset += static_cast<std::uint64_t>(put);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

UniqueFd SparseFile::duplicate() const { return duplicate(data_.get(), path_); }

UniqueFd SparseFile::duplicate(int fd, const std::string& path) {
  UniqueFd other(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!other) {
    throw system_error("Unable to open '" + path + "'", errno);
  }
  return other;
}

void SparseFile::mark_present(BlockRange range) { map_.mark_present(range); }

/// The first change is for a caller of `generation` that came before, the second for one that came in between.
void SparseFile::forget(BlockRange range) {
  map_.set_generation(map_.generation() + 1);
  map_.set(range, BlockMap::State::kMissing);
  map_.set_generation(map_.generation() + 1);
}

void SparseFile::mark_missing(BlockRange range) {
  const ChangeLock lock(change_mutex_, data_.get(), path_);
  struct stat status{};
  if (::fstat(map_.fd(), &status) == 0 && status.st_nlink == 0) {
    return;
  }
  const bool was_synced = map_.has_synced(range);
  forget(range);
  if (was_synced) {
    map_.sync();  // before other bytes are written there: after a power cut, the block must not show as synced
  }
}

bool SparseFile::keep_complete(std::uint64_t generation, const std::function<void()>& keep) {
  const ChangeLock lock(change_mutex_, data_.get(), path_);
  if (!is_complete() || map_.mapped_generation() != generation) {
    return false;
  }
  keep();
  return true;
}

void SparseFile::sync() {
  constexpr int kAttempts = 3;
  const MutexLock one(sync_mutex_);
  for (int i = 0; i < kAttempts; ++i) {
    std::uint64_t generation = 0;
    std::vector<BlockRange> runs;
    {
      const ChangeLock lock(change_mutex_, data_.get(), path_);
      generation = map_.generation();
      runs = map_.unsynced();
    }
    if (runs.empty()) {
      return;
    }
    const int errnum = ::fdatasync(data_.get()) == 0 ? 0 : errno;
    if (errnum == EINTR) {
      continue;
    }
    sync_names();
    const ChangeLock lock(change_mutex_, data_.get(), path_);
    // A block that was forgotten meanwhile may have new bytes, which aren't synced.
    if (errnum == 0 && map_.generation() != generation) {
      continue;
    }
    for (const BlockRange& run : runs) {
      if (errnum == 0) {
        map_.set(run, BlockMap::State::kSynced);
      } else {
        forget(run);
      }
    }
    if (errnum != 0) {
      throw data_error("write", path_, errnum);
    }
    map_.sync();
    return;
  }
}

/// Fails silently: after a power cut, a file without a name is lost, and the next one begins anew.
void SparseFile::sync_names() noexcept {
  if (!names_synced_) {
    const UniqueFd directory(::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    names_synced_ = directory && ::fsync(directory.get()) == 0;
  }
}

void SparseFile::remove() noexcept {
  remove_map();  // first: a map without its file is harmless, also after a power cut
  remove_if(directory_.get(), data_name_, data_.get());
}

void SparseFile::remove_map() noexcept { remove_if(directory_.get(), map_name_, map_.fd()); }

}  // namespace pkgfs
