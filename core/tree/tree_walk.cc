// SPDX-License-Identifier: MIT
#include "core/tree/tree_walk.h"

#include <cerrno>
#include <cstddef>
#include <utility>
#include <vector>

#include "core/base/limits.h"

namespace pkgfs {

namespace {

std::string join(std::string_view directory, std::string_view name) {
  std::string path(directory);
  path += path.ends_with('/') ? "" : "/";
  path += name;
  return path;
}

struct Pending {
  vfs::Inode inode;
  std::string parent;
  std::string name;
  std::size_t depth;
};

struct Listed {
  std::string name;
  vfs::Entry entry;
};

}  // namespace

std::string Visited::path() const { return name.empty() ? std::string(directory) : join(directory, name); }

void walk_tree(vfs::FileSystem& fs, FunctionRef<void(const Visited&)> visit) {
  std::vector<Pending> pending{{.inode = fs.root(), .parent = "/", .name = "", .depth = 0}};
  std::vector<Listed> listed;
  std::vector<Pending> directories;
  while (!pending.empty()) {
    const Pending dir = std::move(pending.back());
    pending.pop_back();
    const std::string path = dir.name.empty() ? dir.parent : join(dir.parent, dir.name);
    listed.clear();
    Result<void> done = fail(ELOOP);
    if (dir.depth < limits::kTreeDepth) {
      done = fs.read_dir(dir.inode, 0, [&](const vfs::DirEntry& entry) {
        listed.push_back(
            {.name = std::string(entry.name), .entry = {.inode = entry.inode, .attributes = entry.attributes}});
        return true;
      });
    }
    if (!done) {
      visit({.directory = dir.parent, .name = dir.name, .entry = fail(done.error())});
    }
    directories.clear();
    for (auto& item : listed) {
      Result<vfs::Entry> entry = item.entry;
      if (item.entry.inode == 0) {
        entry = fs.lookup(dir.inode, item.name);
      }
      visit({.directory = path, .name = item.name, .entry = entry});
      if (!entry) {
        continue;
      }
      if (entry->attributes.type == vfs::FileType::kDirectory) {
        directories.push_back(
            {.inode = entry->inode, .parent = path, .name = std::move(item.name), .depth = dir.depth + 1});
      } else {
        fs.forget(entry->inode, 1);
      }
    }
    // The last one pushed is the next one visited.
    while (!directories.empty()) {
      pending.push_back(std::move(directories.back()));
      directories.pop_back();
    }
    if (dir.depth > 0) {
      fs.forget(dir.inode, 1);
    }
  }
}

}  // namespace pkgfs
