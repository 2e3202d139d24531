// SPDX-License-Identifier: MIT
#include "fuse/walk_order.h"

namespace pkgfs::fuse {
namespace {

/// A walk that comes back from deeper than this isn't foreseen.
constexpr int kMostLevels = 16;

vfs::Inode first_directory(vfs::FileSystem& fs, vfs::Inode parent, std::uint64_t from) {
  vfs::Inode found = 0;
  (void)fs.read_dir(parent, from, [&](const vfs::DirEntry& entry) {
    found = entry.attributes.type == vfs::FileType::kDirectory ? entry.inode : 0;
    return found == 0;
  });
  return found;
}

}  // namespace

vfs::Inode next_directory(vfs::FileSystem& fs, vfs::Inode directory) {
  vfs::Inode next = first_directory(fs, directory, 0);
  for (int levels = 0; next == 0 && levels < kMostLevels; ++levels) {
    const Result<vfs::Place> place = fs.place(directory);
    if (!place) {
      return 0;  // the root
    }
    next = first_directory(fs, place->directory, place->next);
    directory = place->directory;
  }
  return next;
}

std::string path_of(vfs::FileSystem& fs, vfs::Inode directory) {
  std::string path;
  for (Result<vfs::Place> place = fs.place(directory); place; place = fs.place(directory)) {
    std::string name;
    (void)fs.read_dir(place->directory, place->next - 1, [&](const vfs::DirEntry& entry) {
      name = entry.inode == directory ? std::string(entry.name) : std::string();
      return false;
    });
    if (name.empty()) {
      return {};
    }
    path.insert(0, path.empty() ? name : name + "/");
    directory = place->directory;
  }
  return path.empty() ? "." : path;
}

}  // namespace pkgfs::fuse
