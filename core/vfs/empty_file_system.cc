// SPDX-License-Identifier: MIT
#include "core/vfs/empty_file_system.h"

#include <cerrno>

#include "core/vfs/path_text.h"

namespace pkgfs::vfs {

Result<Entry> EmptyFileSystem::lookup(Inode /*dir*/, std::string_view /*name*/) { return fail(ENOENT); }

Result<Attributes> EmptyFileSystem::metadata(Inode /*inode*/) {
  return Attributes{
      .type = FileType::kDirectory, .mode = 0755, .modified = modified_, .number = kRootNumber, .synthetic = true};
}

Result<void> EmptyFileSystem::read_dir(Inode /*dir*/, std::uint64_t /*from*/,
                                       FunctionRef<bool(const DirEntry&)> /*visit*/) {
  return {};
}

Result<std::uint64_t> EmptyFileSystem::parent_number(Inode /*dir*/) { return kRootNumber; }

Result<std::string_view> EmptyFileSystem::read_link(Inode /*inode*/) { return fail(EINVAL); }

Result<std::unique_ptr<OpenFile>> EmptyFileSystem::open(Inode /*inode*/) { return fail(EISDIR); }

}  // namespace pkgfs::vfs
