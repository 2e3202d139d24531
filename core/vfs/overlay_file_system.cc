// SPDX-License-Identifier: MIT
#include "core/vfs/overlay_file_system.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/limits.h"
#include "core/vfs/walk.h"

namespace pkgfs::vfs {

namespace {

const OverlayNode& to_node(Inode inode) {
  return *reinterpret_cast<const OverlayNode*>(inode);  // NOLINT(performance-no-int-to-ptr)
}

Inode to_inode(const OverlayNode& node) { return reinterpret_cast<Inode>(&node); }

}  // namespace

OverlayFileSystem::OverlayFileSystem(std::vector<Layer> layers, const OverlayOptions& options)
    : layers_(std::move(layers)), options_(options), merger_(layers_, options_) {
  merger_.make_root(root_, root_directory_);
}

OverlayFileSystem::~OverlayFileSystem() = default;

Inode OverlayFileSystem::root() const { return to_inode(root_); }

Attributes OverlayFileSystem::attributes(const OverlayNode& node) {
  return {.type = node.type,
          .mode = node.mode,
          .modified_ns = node.modified_ns,
          .modified = node.modified,
          .size = node.size,
          .number = node.number,
          .links = 1,
          .synthetic = node.synthetic,
          .mount_ancestor = node.mount_ancestor,
          .live = false};
}

Result<const OverlayContent*> OverlayFileSystem::content(const OverlayNode& node) {
  if (node.error != 0) {
    return fail(node.error);
  }
  if (node.type != FileType::kDirectory) {
    return fail(ENOTDIR);
  }
  const OverlayContent* content = node.directory->content.load(std::memory_order_acquire);
  if (content == nullptr) {
    content = merge(*node.directory);
  }
  if (content->error != 0) {
    return fail(content->error);
  }
  return content;
}

const OverlayContent* OverlayFileSystem::merge(OverlayDirectory& dir) {
  const MutexLock lock(merge_locks_.at((reinterpret_cast<std::uintptr_t>(&dir) / sizeof(dir)) % kMergeLocks));
  if (const OverlayContent* done = dir.content.load(std::memory_order_acquire); done != nullptr) {
    return done;
  }
  std::unique_ptr<OverlayContent> content = merger_.merge(dir);
  const OverlayContent* result = content.get();
  {
    const MutexLock owned(owned_mutex_);
    owned_.push_back(std::move(content));
  }
  dir.content.store(result, std::memory_order_release);
  return result;
}

Result<Entry> OverlayFileSystem::lookup(Inode dir, std::string_view name) {
  if (name.size() > limits::kNameBytes) {
    return fail(ENAMETOOLONG);
  }
  const Result<const OverlayContent*> found = content(to_node(dir));
  if (!found) {
    return fail(found.error());
  }
  const OverlayNode* const first = (*found)->nodes.get();
  const OverlayNode* const last = first + (*found)->count;
  const OverlayNode* const node = std::lower_bound(
      first, last, name, [](const OverlayNode& a, std::string_view wanted) { return a.name_view() < wanted; });
  if (node == last || node->name_view() != name) {
    return fail(ENOENT);
  }
  if (node->error != 0) {
    return fail(node->error);
  }
  return Entry{to_inode(*node), attributes(*node)};
}

Result<Attributes> OverlayFileSystem::metadata(Inode inode) {
  const OverlayNode& node = to_node(inode);
  if (node.error != 0) {
    return fail(node.error);
  }
  return attributes(node);
}

Result<void> OverlayFileSystem::read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) {
  const Result<const OverlayContent*> found = content(to_node(dir));
  if (!found) {
    return fail(found.error());
  }
  for (std::size_t i = from; i < (*found)->count; ++i) {
    const OverlayNode& node = (*found)->nodes[i];
    if (!visit({.name = node.name_view(),
                .inode = node.error == 0 ? to_inode(node) : 0,
                .error = node.error,
                .next = i + 1,
                .attributes = attributes(node)})) {
      break;
    }
  }
  return {};
}

Result<std::uint64_t> OverlayFileSystem::parent_number(Inode dir) {
  const OverlayNode& node = to_node(dir);
  return node.holder == nullptr ? kRootNumber : node.holder->self->number;
}

Result<std::string_view> OverlayFileSystem::read_link(Inode inode) {
  const OverlayNode& node = to_node(inode);
  if (node.error != 0 || node.type != FileType::kSymlink) {
    return fail(node.error != 0 ? node.error : EINVAL);
  }
  return std::string_view(node.link, node.size);
}

Result<std::unique_ptr<OpenFile>> OverlayFileSystem::open(Inode inode) {
  const OverlayNode& node = to_node(inode);
  if (node.error != 0 || node.type == FileType::kDirectory) {
    return fail(node.error != 0 ? node.error : EISDIR);
  }
  return layers_[node.layer].fs->open(node.inode);
}

Result<Extent> OverlayFileSystem::extent(Inode inode) {
  const OverlayNode& node = to_node(inode);
  if (node.error != 0 || node.type == FileType::kDirectory) {
    return fail(node.error != 0 ? node.error : EISDIR);
  }
  return layers_[node.layer].fs->extent(node.inode);
}

Result<Place> OverlayFileSystem::place(Inode inode) {
  const OverlayNode& node = to_node(inode);
  if (node.holder == nullptr) {
    return fail(EINVAL);
  }
  const OverlayContent* const content = node.holder->content.load(std::memory_order_acquire);
  return Place{to_inode(*node.holder->self), static_cast<std::uint64_t>(&node - content->nodes.get()) + 1};
}

bool OverlayFileSystem::is_immutable() const {
  return std::ranges::all_of(layers_, [](const Layer& layer) { return layer.fs->is_immutable(); });
}

Result<Origin> OverlayFileSystem::origin(Inode inode) {
  const OverlayNode& node = to_node(inode);
  if (node.error != 0 || node.synthetic) {
    return fail(node.error != 0 ? node.error : ENODATA);
  }
  const Layer& layer = layers_[node.layer];
  Result<Origin> origin = layer.fs->origin(node.inode);
  if (!origin) {
    return origin;
  }
  if (origin->package.empty()) {
    origin->package = layer.package.text();
  }
  origin->volume = layer.volume;
  const std::vector<std::string_view> source = path_components(layer.source_path);
  std::string path = absolute_path(source);
  const std::string visible = path_of(inode);
  for (const std::string_view name : path_components(path_below(layer.mount_path, visible))) {
    path = join_path(path, name);
  }
  origin->path = std::move(path);
  return origin;
}

std::string OverlayFileSystem::path_of(Inode inode) const {
  const OverlayNode& node = to_node(inode);
  return node.holder == nullptr ? "/" : join_path(vfs::path_of(*node.holder), node.name_view());
}

std::vector<OverlayConflict> OverlayFileSystem::visit_all() {
  for (TreeWalk walk(*this, root(), {.directories_only = true}); walk.next();) {
  }
  return merger_.conflicts();
}

}  // namespace pkgfs::vfs
