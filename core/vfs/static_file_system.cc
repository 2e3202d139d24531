// SPDX-License-Identifier: MIT
#include "core/vfs/static_file_system.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>

#include "core/vfs/blob_file.h"
#include "core/vfs/path_text.h"

namespace pkgfs::vfs {

StaticFileSystem::StaticFileSystem(std::vector<StaticFile> files, std::int64_t directory_modified)
    : nodes_(1), directory_modified_(directory_modified) {
  std::vector<std::map<std::string, Inode, std::less<>>> children(1);  // of the nodes
  for (StaticFile& file : files) {
    const std::vector<std::string_view> components = path_components(file.path);
    Inode here = root();
    for (std::size_t i = 0; i < components.size() && node(here).directory; ++i) {
      const auto [child, added] = children[here - 1].try_emplace(std::string(components[i]), nodes_.size() + 1);
      const Inode next = child->second;
      if (added) {
        nodes_.emplace_back();
        children.emplace_back();  // moves the maps: `child` is used up
        if (i + 1 == components.size()) {
          nodes_.back().directory = false;
        }
      } else if (i + 1 == components.size()) {
        break;  // the first stays
      }
      here = next;
      if (!node(here).directory && i + 1 == components.size()) {
        nodes_[here - 1].file = std::move(file);
        break;
      }
    }
  }
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    nodes_[i].children.assign(children[i].begin(), children[i].end());
  }
}

Result<Entry> StaticFileSystem::lookup(Inode dir, std::string_view name) {
  if (!node(dir).directory) {
    return fail(ENOTDIR);
  }
  const auto& children = node(dir).children;
  const auto child = std::lower_bound(children.begin(), children.end(), name,
                                      [](const auto& entry, std::string_view wanted) { return entry.first < wanted; });
  if (child == children.end() || child->first != name) {
    return fail(ENOENT);
  }
  return Entry{child->second, *metadata(child->second)};
}

Result<Attributes> StaticFileSystem::metadata(Inode inode) {
  const Node& which = node(inode);
  if (which.directory) {
    return Attributes{.type = FileType::kDirectory, .mode = 0755, .modified = directory_modified_, .number = inode};
  }
  return Attributes{.type = FileType::kFile,
                    .mode = which.file.mode,
                    .modified = which.file.modified,
                    .size = which.file.content.length,
                    .number = inode};
}

Result<void> StaticFileSystem::read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) {
  if (!node(dir).directory) {
    return fail(ENOTDIR);
  }
  const auto& children = node(dir).children;
  for (std::uint64_t at = from; at < children.size(); ++at) {
    const auto& [name, inode] = children[at];
    if (!visit({.name = name, .inode = inode, .next = at + 1, .attributes = *metadata(inode)})) {
      break;
    }
  }
  return {};
}

Result<std::string> StaticFileSystem::path_of_number(std::uint64_t number) {
  if (number == 0 || number > nodes_.size()) {
    return fail(ENOENT);
  }
  std::string path;
  while (number != root()) {  // a directory is numbered before its entries
    std::uint64_t parent = 0;
    for (Inode dir = root(); dir < number && parent == 0; ++dir) {
      for (const auto& [name, child] : node(dir).children) {
        if (child == number) {
          path.insert(0, "/" + name);
          parent = dir;
        }
      }
    }
    if (parent == 0) {
      return fail(ENOENT);
    }
    number = parent;
  }
  return path.empty() ? "/" : path;
}

std::uint64_t StaticFileSystem::fingerprint() const {
  std::uint64_t hash = nodes_.size();
  for (const Node& node : nodes_) {
    hash = hash_of(hash, node.directory ? 0 : node.file.content.length + 1);
    for (const auto& [name, child] : node.children) {
      hash = hash_of(hash_of(hash, name), child);
    }
  }
  return hash | 1U;
}

Result<std::string_view> StaticFileSystem::read_link(Inode /*inode*/) { return fail(EINVAL); }

Result<std::unique_ptr<OpenFile>> StaticFileSystem::open(Inode inode) {
  if (node(inode).directory) {
    return fail(EISDIR);
  }
  return std::make_unique<BlobFile>(node(inode).file.content);
}

Result<Extent> StaticFileSystem::extent(Inode inode) {
  const Node& which = node(inode);
  if (which.directory) {
    return fail(EISDIR);
  }
  return Extent{which.file.content.source.get(), which.file.content.run()};
}

Result<Origin> StaticFileSystem::origin(Inode inode) {
  const Node& which = node(inode);
  if (which.directory) {
    return fail(ENODATA);
  }
  return Origin{.package = which.file.package.text(), .volume = {}, .path = {}, .sha256 = which.file.sha256};
}

}  // namespace pkgfs::vfs
