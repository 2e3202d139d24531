// SPDX-License-Identifier: MIT
#include "core/vfs/host_status.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <new>
#include <span>

#include "core/vfs/path_text.h"

namespace pkgfs::vfs {
namespace {

std::optional<FileType> to_type(mode_t mode) {
  if (S_ISDIR(mode)) {
    return FileType::kDirectory;
  }
  if (S_ISREG(mode)) {
    return FileType::kFile;
  }
  if (S_ISLNK(mode)) {
    return FileType::kSymlink;
  }
  return std::nullopt;  // devices, pipes and sockets are no part of a package
}

/// Whether a change at `changed` was a moment ago. It counts the last change of the inode (ctime), which no program can
/// set. A time in the future is "a moment ago": the clock was set back, or belongs to another machine.
bool is_recent(const statx_timestamp& changed) {
  constexpr std::int64_t kRecent = 2;  // seconds
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return changed.tv_sec >= now.tv_sec - kRecent;
}

/// A small inode number of the host stays small.
std::uint64_t to_number(const HostNumbers& numbers, const struct statx& status) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 47U;
  const std::uint64_t device = ::makedev(status.stx_dev_major, status.stx_dev_minor);
  return device == numbers.device && status.stx_ino < kMost ? numbers.base + status.stx_ino
                                                            : host_number(device, status.stx_ino);
}

}  // namespace

std::optional<Attributes> to_attributes(const HostNumbers& numbers, const struct statx& status) {
  const std::optional<FileType> type = to_type(status.stx_mode);
  if (!type) {
    return std::nullopt;
  }
  Attributes attributes;
  attributes.type = *type;
  attributes.mode = static_cast<std::uint16_t>(status.stx_mode & 0777U);  // never set-user-id and the like
  attributes.size = *type == FileType::kDirectory ? 0 : status.stx_size;
  attributes.modified = status.stx_mtime.tv_sec;
  attributes.modified_ns = status.stx_mtime.tv_nsec;
  attributes.links = status.stx_nlink;
  attributes.number = to_number(numbers, status);
  attributes.live = true;
  attributes.recent = is_recent(status.stx_ctime);
  return attributes;
}

Result<struct statx> status_of(const UniqueFd& fd) {
  struct statx status{};
  if (::statx(fd.get(), "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &status) != 0) {
    return fail(errno);
  }
  return status;
}

std::uint64_t generation_of(const UniqueFd& fd, const struct statx& status) {
  // A file handle holds the generation. AT_HANDLE_FID, since Linux 6.5: overlayfs makes no other handles.
  constexpr int kHandleFid = 0x200;
  constexpr std::size_t kMost = 128;  // MAX_HANDLE_SZ
  alignas(file_handle) std::array<unsigned char, sizeof(file_handle) + kMost> buffer{};
  for (const int flag : {0, kHandleFid}) {
    auto* const handle = new (buffer.data()) file_handle;
    handle->handle_bytes = kMost;
    int mount = 0;
    if (::name_to_handle_at(fd.get(), "", handle, &mount, AT_EMPTY_PATH | flag) == 0) {
      std::uint64_t hash = 0xcbf29ce484222325 ^ static_cast<std::uint64_t>(handle->handle_type);  // FNV-1a
      for (const unsigned char byte : std::span(buffer).subspan(sizeof(file_handle), handle->handle_bytes)) {
        hash = (hash ^ byte) * 0x100000001b3;
      }
      return hash | 1U;
    }
    if (errno != EOPNOTSUPP) {
      break;
    }
  }
  if ((status.stx_mask & STATX_BTIME) == 0) {
    return 0;
  }
  return static_cast<std::uint64_t>(status.stx_btime.tv_sec) * 1'000'000'000 + status.stx_btime.tv_nsec;
}

Result<struct statx> status_in(int dir, const char* name) {
  struct statx status{};
  constexpr int kFlags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
  if (::statx(dir, name, kFlags, STATX_BASIC_STATS, &status) != 0) {
    return fail(errno);
  }
  return status;
}

}  // namespace pkgfs::vfs
