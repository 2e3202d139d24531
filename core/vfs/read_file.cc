// SPDX-License-Identifier: MIT
#include "core/vfs/read_file.h"

#include <vector>

namespace pkgfs::vfs {

Result<void> read_file(FileSystem& fs, Inode inode, FunctionRef<bool(std::span<const std::byte>)> consume) {
  constexpr std::size_t kPiece = 256U << 10U;
  const auto file = fs.open(inode);
  if (!file) {
    return fail(file.error());
  }
  std::vector<std::byte> piece(kPiece);
  std::uint64_t offset = 0;
  while (true) {
    const Result<std::size_t> got = (*file)->read(offset, piece);
    if (!got) {
      return fail(got.error());
    }
    if (*got == 0 || !consume(std::span(piece).first(*got))) {
      return {};
    }
    offset += *got;
  }
}

Result<Sha256> sha256_of(FileSystem& fs, Inode inode) {
  Sha256Hasher hasher;
  const Result<void> read = read_file(fs, inode, [&hasher](std::span<const std::byte> bytes) {
    hasher.update(bytes);
    return true;
  });
  if (!read) {
    return fail(read.error());
  }
  return hasher.finish();
}

}  // namespace pkgfs::vfs
