// SPDX-License-Identifier: MIT
#include "core/load/archive_tree.h"

#include <algorithm>
#include <cerrno>

#include "core/base/limits.h"

namespace pkgfs {

namespace {

/// Pushes the components of `path` on `way`, the last one first.
void push_reversed(std::string_view path, std::vector<std::string>& way) {
  while (!path.empty()) {
    const auto slash = path.rfind('/');
    const auto component = path.substr(slash == std::string_view::npos ? 0 : slash + 1);
    path = path.substr(0, slash == std::string_view::npos ? 0 : slash);
    if (!component.empty() && component != ".") {
      way.emplace_back(component);
    }
  }
}

}  // namespace

ArchiveTree::Index ArchiveTree::child(Index directory, std::string_view name) const {
  const auto found = by_name_.find(Key{directory, name});
  return found != by_name_.end() ? *found : kNone;
}

ArchiveTree::Index ArchiveTree::add(Index directory, std::string_view name) {
  if (nodes_.size() > limits::kTarballEntries) {  // the root isn't counted
    throw Error(ErrorCode::kUnsupported, "it has more than " + std::to_string(limits::kTarballEntries) + " entries");
  }
  const auto index = static_cast<Index>(nodes_.size());
  Node& added = nodes_.emplace_back();
  added.name = name;
  added.parent = directory;
  by_name_.insert(index);
  return index;
}

std::vector<ArchiveTree::Index> ArchiveTree::children(Index directory) const {
  std::vector<Index> found;
  for (auto at = by_name_.lower_bound(Key{directory, {}}); at != by_name_.end() && nodes_[*at].parent == directory;
       ++at) {
    found.push_back(*at);
  }
  return found;
}

std::string ArchiveTree::path_of(Index index) const {
  std::vector<std::string_view> names;
  for (; index != kRoot; index = nodes_[index].parent) {
    names.emplace_back(nodes_[index].name);
  }
  std::string path;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    path += path.empty() ? "" : "/";
    path += *name;
  }
  return path;
}

Result<ArchiveTree::Index> ArchiveTree::find(const HostPath& path) const {
  if (path.leaves()) {
    return fail(EXDEV);
  }
  std::vector<std::string> way(path.components.rbegin(), path.components.rend());  // the next component is at the back
  Index here = kRoot;
  int links = 0;
  while (!way.empty()) {
    const std::string name = std::move(way.back());
    way.pop_back();
    if (nodes_[here].kind != webc::EntryKind::kDirectory) {
      return fail(ENOTDIR);
    }
    if (name == "..") {
      if (here == kRoot) {
        return fail(EXDEV);
      }
      here = nodes_[here].parent;
      continue;
    }
    const Index next = child(here, name);
    if (next == kNone) {
      return fail(ENOENT);
    }
    if (nodes_[next].kind != webc::EntryKind::kSymlink) {
      here = next;
      continue;
    }
    if (++links > kLinksFollowed) {
      return fail(ELOOP);
    }
    push_reversed(target(next), way);  // from the directory that the link is in
  }
  return here;
}

Blob ArchiveTree::content(Index file) const {
  return {.source = source_, .offset = nodes_[file].offset, .length = nodes_[file].length};
}

std::string ArchiveTree::target(Index link) const {
  const auto bytes = source_->bytes().subspan(nodes_[link].offset, nodes_[link].length);
  std::string text(bytes.size(), '\0');
  std::ranges::transform(bytes, text.begin(), [](std::byte byte) { return static_cast<char>(byte); });
  return text;
}

}  // namespace pkgfs
