// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "core/export/erofs_format.h"
#include "core/export/erofs_writer.h"

namespace pkgfs {

void read_erofs_metadata_ahead(int fd) {
  constexpr std::uint64_t kMost = 64U << 20U;
  // For one call, the kernel reads no more than the read-ahead window of the disk: 128 KiB by default.
  constexpr std::uint64_t kPiece = 128U << 10U;
  erofs::SuperBlock super;
  struct stat status{};
  if (::fstat(fd, &status) != 0 ||
      ::pread(fd, &super, sizeof(super), erofs::kSuperBlockAt) != static_cast<ssize_t>(sizeof(super)) ||
      super.magic != erofs::kMagic) {
    return;
  }
  const std::uint64_t begin = super.metadata_block * erofs::kBlock;
  const std::uint64_t end = std::min(static_cast<std::uint64_t>(status.st_size), begin + kMost);
  for (std::uint64_t offset = begin; offset < end; offset += kPiece) {
    ::posix_fadvise(fd, static_cast<off_t>(offset), static_cast<off_t>(std::min(kPiece, end - offset)),
                    POSIX_FADV_WILLNEED);
  }
}

}  // namespace pkgfs
