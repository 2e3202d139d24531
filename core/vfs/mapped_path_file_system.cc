// SPDX-License-Identifier: MIT
#include "core/vfs/mapped_path_file_system.h"
#include "core/base/lost_pages.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/vfs/path_text.h"
#include "core/vfs/walk.h"

namespace pkgfs::vfs {

Result<std::unique_ptr<FileSystem>> MappedPathFileSystem::make(std::shared_ptr<FileSystem> inner,
                                                               const std::string& original_path,
                                                               const std::string& mount_path, std::int64_t modified) {
  const Result<Entry> root = find_path(*inner, original_path);
  if (!root) {
    return fail(root.error());
  }
  return std::make_unique<MappedPathFileSystem>(std::move(inner), *root, original_path, mount_path, modified);
}

MappedPathFileSystem::MappedPathFileSystem(std::shared_ptr<FileSystem> inner, const Entry& inner_root,
                                           const std::string& original_path, const std::string& mount_path,
                                           std::int64_t modified)
    : inner_(std::move(inner)),
      inner_root_(inner_root.inode),
      inner_root_number_(inner_root.attributes.number),
      original_path_(original_path),
      mount_path_(mount_path == "/" ? "" : mount_path),
      ancestor_{
          .type = FileType::kDirectory, .mode = 0755, .modified = modified, .synthetic = true, .mount_ancestor = true} {
  for (std::size_t end = 0; end < mount_path_.size();) {
    end = std::min(mount_path_.find('/', end + 1), mount_path_.size());
    ends_.push_back(static_cast<std::uint32_t>(end));
  }
}

MappedPathFileSystem::~MappedPathFileSystem() {
  if (inner_root_ != inner_->root()) {
    inner_->forget(inner_root_, 1);
  }
}

Inode MappedPathFileSystem::root() const { return ends_.empty() ? from_inner(inner_root_) : 1; }

std::string_view MappedPathFileSystem::name_in(Inode ancestor) const {
  const std::size_t begin = ancestor == 1 ? 1 : ends_[ancestor - 2] + 1;
  return std::string_view(mount_path_).substr(begin, ends_[ancestor - 1] - begin);
}

Result<Entry> MappedPathFileSystem::child_of_ancestor(Inode ancestor) {
  if (ancestor < depth()) {
    return Entry{ancestor + 1, attributes_of_ancestor(ancestor + 1)};
  }
  const Result<Attributes> root = attributes_of_inner_root();
  if (!root) {
    return fail(root.error());
  }
  return Entry{from_inner(inner_root_), *root};
}

Attributes MappedPathFileSystem::attributes_of_ancestor(Inode ancestor) const {
  Attributes attributes = ancestor_;
  attributes.number = ancestor;
  return attributes;
}

Result<Attributes> MappedPathFileSystem::attributes_of_inner_root() {
  Result<Attributes> root = inner_->metadata(inner_root_);
  if (root) {
    root->number = root->live ? root->number : inner_root_number_;
    root = from_inner(*root);
  }
  return root;
}

Attributes MappedPathFileSystem::from_inner(Attributes attributes) const {
  if (!attributes.live && attributes.number != 0) {
    attributes.number += depth();
  }
  return attributes;
}

Result<Entry> MappedPathFileSystem::lookup(Inode dir, std::string_view name) {
  if (is_ancestor(dir)) {
    return name == name_in(dir) ? child_of_ancestor(dir) : fail(ENOENT);
  }
  Result<Entry> entry = inner_->lookup(to_inner(dir), name);
  if (entry) {
    entry->inode = from_inner(entry->inode);
    entry->attributes = from_inner(entry->attributes);
  }
  return entry;
}

Result<Attributes> MappedPathFileSystem::metadata(Inode inode) {
  if (is_ancestor(inode)) {
    return attributes_of_ancestor(inode);
  }
  if (to_inner(inode) == inner_root_) {
    return attributes_of_inner_root();
  }
  const Result<Attributes> attributes = inner_->metadata(to_inner(inode));
  return attributes ? from_inner(*attributes) : attributes;
}

DirEntry MappedPathFileSystem::from_inner(const DirEntry& inner) const {
  DirEntry entry = inner;
  entry.inode = inner.inode == 0 ? 0 : from_inner(inner.inode);
  entry.attributes = from_inner(inner.attributes);
  return entry;
}

Result<void> MappedPathFileSystem::list_stored(Inode dir, std::uint64_t from, StoredVisitor visit) {
  if (is_ancestor(dir)) {
    return FileSystem::list_stored(dir, from, visit);
  }
  return inner_->list_stored(to_inner(dir), from, [&](std::uint64_t position, const DirEntry& inner) {
    return visit(position, from_inner(inner));
  });
}

Result<void> MappedPathFileSystem::read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) {
  if (!is_ancestor(dir)) {
    return inner_->read_dir(to_inner(dir), from, [&](const DirEntry& inner) { return visit(from_inner(inner)); });
  }
  if (from == 0) {
    const Result<Entry> child = child_of_ancestor(dir);
    DirEntry entry{.name = name_in(dir), .inode = 0, .error = 0, .next = 1, .attributes = {}};
    if (child) {
      entry.inode = child->inode;
      entry.attributes = child->attributes;
    } else if (lost_pages::ever() || !inner_->is_intact(inner_root_)) {
      return fail(child.error());  // the caller may keep the listing, but not one that lacks bytes
    } else {
      entry.error = child.error();
    }
    visit(entry);
  }
  return {};
}

Result<std::string> MappedPathFileSystem::path_of_number(std::uint64_t number) {
  if (number == 0 || number > numbers()) {
    return fail(ENOENT);
  }
  if (is_ancestor(number)) {
    return number == 1 ? "/" : mount_path_.substr(0, ends_[number - 2]);
  }
  const Result<std::string> inner = inner_->path_of_number(to_inner(number));
  if (!inner || !path_covers(original_path_, *inner)) {
    return inner ? fail(ENOENT) : inner;
  }
  const std::string mounted = mount_path_.empty() ? "/" : mount_path_;
  const std::string_view below = path_below(original_path_, *inner);
  return below == "/" ? mounted : join_path(mounted, below.substr(1));
}

std::uint64_t MappedPathFileSystem::fingerprint() const {
  const std::uint64_t inner = inner_->fingerprint();
  std::uint64_t hash = hash_of(inner, original_path_);
  for (Inode ancestor = 1; ancestor <= depth(); ++ancestor) {
    hash = hash_of(hash, name_in(ancestor));
  }
  return inner == 0 ? 0 : hash | 1U;
}

Result<std::string_view> MappedPathFileSystem::read_link(Inode inode) {
  return is_ancestor(inode) ? fail(EINVAL) : inner_->read_link(to_inner(inode));
}

Result<std::unique_ptr<OpenFile>> MappedPathFileSystem::open(Inode inode) {
  if (is_ancestor(inode)) {
    return fail(EISDIR);
  }
  return inner_->open(to_inner(inode));
}

Result<Extent> MappedPathFileSystem::extent(Inode inode) {
  return is_ancestor(inode) ? fail(EISDIR) : inner_->extent(to_inner(inode));
}

bool MappedPathFileSystem::watch(Inode dir, HostWatcher& watcher, std::uint64_t watch) {
  if (!is_ancestor(dir)) {
    return inner_->watch(to_inner(dir), watcher, watch);
  }
  if (dir < depth()) {
    return true;  // never changes
  }
  // If the root of a host file system becomes another directory, everything is told anew (HostChange::kReplaced). A
  // file there, or a path below, may change.
  const Result<Attributes> root = inner_->metadata(inner_root_);
  return inner_root_ == inner_->root() && root && root->type == FileType::kDirectory;
}

void MappedPathFileSystem::forget(Inode inode, std::uint64_t count) {
  // The file system itself holds the reference of its mount path; look-ups of it give none.
  if (!is_ancestor(inode) && to_inner(inode) != inner_root_) {
    inner_->forget(to_inner(inode), count);
  }
}

Result<Origin> MappedPathFileSystem::origin(Inode inode) {
  return is_ancestor(inode) ? fail(ENODATA) : inner_->origin(to_inner(inode));
}

}  // namespace pkgfs::vfs
