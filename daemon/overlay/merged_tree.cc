// SPDX-License-Identifier: MIT
#include "daemon/overlay/merged_tree.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <sstream>
#include <utility>

#include "core/base/error.h"

namespace pkgfs {

MergedTree::Directory MergedTree::root() const { return {.upper = "", .base = base_.root()}; }

std::optional<vfs::Entry> MergedTree::find(std::optional<vfs::Inode> inode, std::string_view name) const {
  if (!inode) {
    return std::nullopt;
  }
  const Result<vfs::Entry> found = base_.lookup(*inode, name);
  if (!found && found.error() != ENOENT && found.error() != ENOTDIR && found.error() != ENAMETOOLONG) {
    throw system_error("\"" + std::string(name) + "\" of the package", found.error());
  }
  return found ? std::optional(*found) : std::nullopt;
}

std::optional<vfs::Inode> MergedTree::redirected(std::optional<vfs::Inode> parent, const std::string& redirect) const {
  std::optional<vfs::Inode> place = redirect.starts_with('/') ? std::optional(base_.root()) : parent;
  std::istringstream components(redirect);
  for (std::string name; place && std::getline(components, name, '/');) {
    if (!name.empty()) {
      const std::optional<vfs::Entry> entry = find(place, name);
      place = entry && entry->attributes.type == vfs::FileType::kDirectory ? std::optional(entry->inode) : std::nullopt;
    }
  }
  return place;
}

std::vector<std::string> MergedTree::names(vfs::Inode directory) const {
  std::vector<std::string> names;
  const Result<void> listed = base_.read_dir(directory, 0, [&](const vfs::DirEntry& entry) {
    names.emplace_back(entry.name);
    return true;
  });
  if (!listed) {
    throw system_error("Unable to list a directory of the package", listed.error());
  }
  return names;
}

std::vector<MergedTree::Entry> MergedTree::entries(const Directory& directory) const {
  std::map<std::string, Entry> found;
  if (directory.base) {
    for (const std::string& name : names(*directory.base)) {
      if (std::optional<vfs::Entry> entry = find(directory.base, name)) {
        found.emplace(name, Entry{.name = name, .upper = {}, .base = *entry});
      }
    }
  }
  if (directory.upper) {
    for (UpperEntry& entry : upper_.entries(*directory.upper)) {
      if (entry.is_removed) {
        found.erase(entry.name);
      } else {
        Entry& merged = found[entry.name];
        merged.name = entry.name;
        merged.upper = std::move(entry);
      }
    }
  }
  std::vector<Entry> entries;
  entries.reserve(found.size());
  for (auto& [name, entry] : found) {
    entries.push_back(std::move(entry));
  }
  return entries;
}

MergedTree::Directory MergedTree::enter(const Directory& parent, const Entry& entry) const {
  const bool is_base_directory = entry.base && entry.base->attributes.type == vfs::FileType::kDirectory;
  Directory directory{.upper = {}, .base = is_base_directory ? std::optional(entry.base->inode) : std::nullopt};
  if (entry.upper) {
    directory.upper = parent.upper->empty() ? entry.name : *parent.upper + "/" + entry.name;
    if (entry.upper->redirect) {
      directory.base = redirected(parent.base, *entry.upper->redirect);
    } else if (entry.upper->is_opaque) {
      directory.base.reset();
    }
  }
  return directory;
}

}  // namespace pkgfs
