// SPDX-License-Identifier: MIT
#include "fuse/own_mount.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace pkgfs::fuse {

int OwnMount::enter() {
  UniqueFd copy(::open_tree(AT_FDCWD, mountpoint_.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT));
  if (!copy) {
    return errno;
  }
  struct statx status{};
  if (::statx(copy.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status) != 0) {
    return errno;
  }
  if (status.stx_dev_major != 0 || status.stx_dev_minor != device_) {
    return ENODEV;
  }
  copy_ = std::move(copy);
  return 0;
}

int OwnMount::list(const std::string& path, std::uint64_t from) {
  if (const int error = copy_ ? 0 : enter(); error != 0) {
    return error;
  }
  const UniqueFd directory(::openat(copy_.get(), path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory || ::lseek(directory.get(), static_cast<off_t>(from), SEEK_SET) < 0) {
    return errno;
  }
  constexpr std::size_t kBuffer = 32U << 10U;
  alignas(16) std::array<char, kBuffer>
      buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): only the kernel writes it
  return ::getdents64(directory.get(), buffer.data(), buffer.size()) < 0 ? errno : 0;
}

}  // namespace pkgfs::fuse
