// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>

#include "core/base/function_ref.h"
#include "core/base/hash.h"
#include "core/vfs/file_system.h"

namespace pkgfs::vfs {

/// Calls `consume` with the bytes of a file, piece by piece, until it answers false.
[[nodiscard]] Result<void> read_file(FileSystem& fs, Inode inode,
                                     FunctionRef<bool(std::span<const std::byte>)> consume);

/// The SHA-256 of a file's bytes.
[[nodiscard]] Result<Sha256> sha256_of(FileSystem& fs, Inode inode);

}  // namespace pkgfs::vfs
