// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "core/export/erofs_format.h"
#include "core/export/erofs_writer.h"

namespace pkgfs {
namespace {

bool is_cached(int fd, std::uint64_t offset) {
  char byte = 0;
  iovec place{.iov_base = &byte, .iov_len = 1};
  return ::preadv2(fd, &place, 1, static_cast<off_t>(offset), RWF_NOWAIT) == 1;
}

}  // namespace

void read_erofs_metadata_ahead(int fd) {
  constexpr std::uint64_t kMost = 64U << 20U;
  constexpr std::uint64_t kPiece =
      128U << 10U;  // the kernel reads no more for one call, if the disk's read-ahead is that
  erofs::SuperBlock super;
  struct stat status{};
  if (::fstat(fd, &status) != 0 ||
      ::pread(fd, &super, sizeof(super), erofs::kSuperBlockAt) != static_cast<ssize_t>(sizeof(super)) ||
      super.magic != erofs::kMagic) {
    return;
  }
  const std::uint64_t begin = super.metadata_block * erofs::kBlock;
  const std::uint64_t end = std::min(static_cast<std::uint64_t>(status.st_size), begin + kMost);
  if (begin >= end || (is_cached(fd, begin) && is_cached(fd, end - 1))) {
    return;
  }
  for (std::uint64_t offset = begin; offset < end; offset += kPiece) {
    ::posix_fadvise(fd, static_cast<off_t>(offset), static_cast<off_t>(std::min(kPiece, end - offset)),
                    POSIX_FADV_WILLNEED);
  }
}

}  // namespace pkgfs
