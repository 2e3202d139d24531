// SPDX-License-Identifier: MIT
#include "core/vfs/file_system.h"

#include <cerrno>

namespace pkgfs::vfs {

Result<std::string> FileSystem::path_of_number(std::uint64_t /*number*/) { return fail(ENOENT); }

Result<void> FileSystem::list_stored(Inode dir, std::uint64_t from, StoredVisitor visit) {
  std::uint64_t position = from;
  return read_dir(dir, from, [&](const DirEntry& entry) {
    const bool goes_on = visit(position, entry);
    position = entry.next;
    return goes_on;
  });
}

Result<std::uint64_t> FileSystem::parent_number(Inode /*dir*/) { return fail(ENOTSUP); }

Result<Extent> FileSystem::extent(Inode /*inode*/) { return fail(EINVAL); }

Result<Place> FileSystem::place(Inode /*inode*/) { return fail(ENOTSUP); }

bool FileSystem::watch(Inode /*dir*/, HostWatcher& /*watcher*/, std::uint64_t /*watch*/) { return false; }

void FileSystem::forget(Inode /*inode*/, std::uint64_t /*count*/) {}

Result<Origin> FileSystem::origin(Inode /*inode*/) { return fail(ENODATA); }

}  // namespace pkgfs::vfs
