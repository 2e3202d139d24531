// SPDX-License-Identifier: MIT
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>

#include "core/base/unique_fd.h"
#include "core/vfs/file_system.h"

/// What HostFileSystem knows of an inode of the host.
namespace pkgfs::vfs {

/// The attributes to show. Nothing for devices, pipes and sockets, which are no part of a package.
[[nodiscard]] std::optional<Attributes> to_attributes(const HostNumbers& numbers, const struct statx& status);
[[nodiscard]] Result<struct statx> status_of(const UniqueFd& fd);
/// The status of an entry that is being listed. Never waits for a file system that is mounted on it
/// (AT_STATX_DONT_SYNC), which may be served by this process.
[[nodiscard]] Result<struct statx> status_in(int dir, const char* name);
/// What tells an inode from a later one with the same number, which a file system may give again at once. 0: the file
/// system can't tell. `status` is that of the descriptor.
[[nodiscard]] std::uint64_t generation_of(const UniqueFd& fd, const struct statx& status);

}  // namespace pkgfs::vfs
