// SPDX-License-Identifier: MIT
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "core/vfs/file_system.h"

/// Functions that turn the values of core/vfs into those of the kernel's interface (docs/rules/filesystem.md, 9.5). All
/// are pure.
namespace pkgfs::fuse {

/// The owner that every entry shows, and the permission bits that are taken away.
struct Ownership {
  uid_t uid = 0;
  gid_t gid = 0;
  std::uint16_t file_mask = 0;
  std::uint16_t directory_mask = 0;
};

[[nodiscard]] struct stat to_stat(const vfs::Attributes& attributes, const Ownership& owner);
/// A full file system with `bytes` bytes of content in `inodes` inodes.
[[nodiscard]] struct statvfs to_statvfs(std::uint64_t bytes, std::uint64_t inodes);

/// The name of the attribute with the statistics of the mount (AdapterOptions::stats). Only the root has it.
inline constexpr std::string_view kStatisticsAttribute = "user.pkgfs.stats";

/// `user.pkgfs.package`, `.volume`, `.path` and `.sha256`: where an entry comes from.
[[nodiscard]] bool is_origin_attribute(std::string_view name);
/// The value of such an attribute; empty: the entry has none.
[[nodiscard]] std::string origin_attribute(const vfs::Origin& origin, std::string_view name);

}  // namespace pkgfs::fuse
