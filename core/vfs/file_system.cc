// SPDX-License-Identifier: MIT
#include "core/vfs/file_system.h"

#include <cerrno>

namespace pkgfs::vfs {

Result<std::uint64_t> FileSystem::parent_number(Inode /*dir*/) { return fail(ENOTSUP); }

Result<Extent> FileSystem::extent(Inode /*inode*/) { return fail(EINVAL); }

void FileSystem::forget(Inode /*inode*/, std::uint64_t /*count*/) {}

Result<Origin> FileSystem::origin(Inode /*inode*/) { return fail(ENODATA); }

Result<Entry> FileSystem::create(Inode /*dir*/, std::string_view /*name*/, std::uint16_t /*mode*/) {
  return fail(EROFS);
}

Result<Entry> FileSystem::make_directory(Inode /*dir*/, std::string_view /*name*/, std::uint16_t /*mode*/) {
  return fail(EROFS);
}

Result<Entry> FileSystem::make_symlink(Inode /*dir*/, std::string_view /*name*/, std::string_view /*target*/) {
  return fail(EROFS);
}

Result<void> FileSystem::remove(Inode /*dir*/, std::string_view /*name*/, bool /*directory*/) { return fail(EROFS); }

Result<void> FileSystem::rename(Inode /*dir*/, std::string_view /*name*/, Inode /*new_dir*/,
                                std::string_view /*new_name*/) {
  return fail(EROFS);
}

Result<Place> FileSystem::place(Inode /*inode*/) { return fail(ENOTSUP); }
Result<void> FileSystem::write(Inode /*inode*/, std::uint64_t /*offset*/, std::span<const std::byte> /*bytes*/) {
  return fail(EROFS);
}

Result<void> FileSystem::set_attributes(Inode /*inode*/, const Attributes& /*attributes*/) { return fail(EROFS); }

Result<Entry> walk(FileSystem& fs, std::string_view path) {
  Entry here{fs.root(), {}};
  const Result<Attributes> root = fs.metadata(here.inode);
  if (!root) {
    return fail(root.error());
  }
  here.attributes = *root;
  bool counted = false;  // the root isn't
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
    if (name.empty()) {
      continue;
    }
    const Result<Entry> next = fs.lookup(here.inode, name);
    if (counted) {
      fs.forget(here.inode, 1);
    }
    if (!next) {
      return next;
    }
    here = *next;
    counted = true;
  }
  return here;
}

}  // namespace pkgfs::vfs
