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

/// Whose everything is, and the permission bits taken away.
struct Ownership {
  uid_t uid = 0;
  gid_t gid = 0;
  std::uint16_t file_mask = 0;
  std::uint16_t directory_mask = 0;
};

[[nodiscard]] struct stat to_stat(const vfs::Attributes& attributes, const Ownership& owner);
/// `bytes` of content in `inodes` inodes; nothing free.
[[nodiscard]] struct statvfs to_statvfs(std::uint64_t bytes, std::uint64_t inodes);

/// On the root only: what the kernel has asked so far (Statistics::to_json).
inline constexpr std::string_view kStatisticsAttribute = "user.pkgfs.stats";

/// `user.pkgfs.package`, `.volume`, `.path` and `.sha256`: where an entry comes from.
[[nodiscard]] bool is_origin_attribute(std::string_view name);
/// Its value; empty: there is none.
[[nodiscard]] std::string origin_attribute(const vfs::Origin& origin, std::string_view name);

}  // namespace pkgfs::fuse
