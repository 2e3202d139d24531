// SPDX-License-Identifier: MIT
#include "fuse/attributes.h"

#include "core/base/limits.h"

namespace pkgfs::fuse {
namespace {

constexpr std::uint64_t kBlock = 4096;
constexpr std::uint64_t kStatBlock = 512;  // st_blocks counts these, whatever st_blksize is
constexpr std::string_view kPackage = "user.pkgfs.package";
constexpr std::string_view kVolume = "user.pkgfs.volume";
constexpr std::string_view kPath = "user.pkgfs.path";
constexpr std::string_view kSha256 = "user.pkgfs.sha256";

}  // namespace

struct stat to_stat(const vfs::Attributes& attributes, const Ownership& owner) {
  struct stat status{};
  status.st_ino = attributes.number;
  status.st_nlink = attributes.links;
  status.st_uid = owner.uid;
  status.st_gid = owner.gid;
  status.st_blksize = kBlock;
  status.st_size = static_cast<off_t>(attributes.size);
  switch (attributes.type) {
    case vfs::FileType::kDirectory:
      status.st_mode = S_IFDIR | (attributes.mode & ~static_cast<mode_t>(owner.directory_mask));
      status.st_size = static_cast<off_t>(kBlock);
      // "Not counted", as on btrfs: a count would mean reading every child directory first.
      status.st_nlink = 1;
      break;
    case vfs::FileType::kFile:
      status.st_mode = S_IFREG | (attributes.mode & ~static_cast<mode_t>(owner.file_mask));
      status.st_blocks = static_cast<blkcnt_t>((attributes.size + kStatBlock - 1) / kStatBlock);
      break;
    case vfs::FileType::kSymlink:
      status.st_mode = S_IFLNK | attributes.mode;
      break;
  }
  status.st_mtim = {.tv_sec = attributes.modified, .tv_nsec = static_cast<long>(attributes.modified_ns)};
  status.st_atim = status.st_ctim = status.st_mtim;
  return status;
}

struct statvfs to_statvfs(std::uint64_t bytes, std::uint64_t inodes) {
  struct statvfs status{};
  status.f_bsize = status.f_frsize = kBlock;
  status.f_blocks = (bytes + kBlock - 1) / kBlock;
  status.f_files = inodes;
  status.f_namemax = limits::kNameBytes;
  return status;
}

bool is_origin_attribute(std::string_view name) {
  return name == kPackage || name == kVolume || name == kPath || name == kSha256;
}

std::string origin_attribute(const vfs::Origin& origin, std::string_view name) {
  if (name == kPackage) {
    return origin.package;
  }
  if (name == kVolume) {
    return origin.volume;
  }
  if (name == kPath) {
    return origin.path;
  }
  return origin.sha256 ? to_hex(*origin.sha256) : std::string();
}

}  // namespace pkgfs::fuse
