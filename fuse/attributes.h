// SPDX-License-Identifier: MIT
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "core/vfs/file_system.h"

/// The layer's values as the kernel wants them (docs/rules/filesystem.md, 9.5); pure functions.
namespace pkgfs::fuse {

/// The owner that every entry is shown with, and the permission bits taken away.
struct Ownership {
  uid_t uid = 0;
  gid_t gid = 0;
  std::uint16_t file_mask = 0;
  std::uint16_t directory_mask = 0;
};

[[nodiscard]] struct stat to_stat(const vfs::Attributes& attributes, const Ownership& owner);
/// A full file system with `bytes` bytes of content in `inodes` inodes.
[[nodiscard]] struct statvfs to_statvfs(std::uint64_t bytes, std::uint64_t inodes);

/// The statistics of the mount (AdapterOptions::stats). The root has it.
inline constexpr std::string_view kStatisticsAttribute = "user.pkgfs.stats";

/// `user.pkgfs.package`, `.volume`, `.path` and `.sha256`: where an entry comes from.
[[nodiscard]] bool is_origin_attribute(std::string_view name);
/// The value of such an attribute; empty: the entry has none.
[[nodiscard]] std::string origin_attribute(const vfs::Origin& origin, std::string_view name);

}  // namespace pkgfs::fuse
