// SPDX-License-Identifier: MIT
#include "core/vfs/overlay_file_system.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/limits.h"
#include "core/vfs/walk.h"

namespace pkgfs::vfs {

namespace {

constexpr unsigned kIndexBits = 31;  // and as many for the number of the directory: inodes are below 2^62
constexpr std::uint64_t kIndexMask = (std::uint64_t{1} << kIndexBits) - 1;
constexpr Inode kRoot = 1;  // the first entry of directory 0; the kernel's own id of every root

OverlayContent content_of_one() {
  OverlayContent content;
  content.count = 1;
  content.nodes = std::make_unique<OverlayNode[]>(1);
  return content;
}

/// Stands for an inode that is none.
const OverlayNode kStale = [] {
  OverlayNode node;
  node.error = ESTALE;
  return node;
}();

/// The entry `name` of a merged directory; null if it has none.
const OverlayNode* find_name(const OverlayContent& content, std::string_view name) {
  const OverlayNode* const first = content.nodes.get();
  const OverlayNode* const last = first + content.count;
  const OverlayNode* const node = std::lower_bound(
      first, last, name, [](const OverlayNode& a, std::string_view wanted) { return a.name_view() < wanted; });
  return node == last || node->name_view() != name ? nullptr : node;
}

}  // namespace

OverlayFileSystem::OverlayFileSystem(std::vector<Layer> layers, const OverlayOptions& options, Inodes inodes)
    : layers_(std::move(layers)),
      options_(options),
      merger_(layers_, options_),
      top_(content_of_one()),
      root_(top_.nodes[0]),
      stable_(inodes == Inodes::kStable &&
              layers_.back().number_base + layers_.back().fs->numbers() < std::uint64_t{1} << kIndexBits) {
  merger_.make_root(root_, root_directory_);
  merged_.add(0, &top_);
}

OverlayFileSystem::~OverlayFileSystem() = default;

Inode OverlayFileSystem::root() const { return stable_ ? kRoot : reinterpret_cast<Inode>(&root_); }

inline const OverlayNode& OverlayFileSystem::find(Inode inode) {
  if (!stable_) {
    return *reinterpret_cast<const OverlayNode*>(inode);  // NOLINT(performance-no-int-to-ptr)
  }
  const OverlayContent* const content = merged_.find(inode >> kIndexBits);
  const std::size_t index = (inode & kIndexMask) - 1;
  if (content == nullptr) [[unlikely]] {
    return find_unmerged(inode);
  }
  return index < content->count ? content->nodes[index] : kStale;
}

const OverlayNode& OverlayFileSystem::find_unmerged(Inode inode) {
  const OverlayNode* const dir = find_directory(inode >> kIndexBits);
  const std::size_t index = (inode & kIndexMask) - 1;
  const Result<const OverlayContent*> found = dir == nullptr ? fail(ESTALE) : content(*dir);
  return found && index < (*found)->count ? (*found)->nodes[index] : kStale;
}

const OverlayNode* OverlayFileSystem::find_directory(std::uint64_t number) {
  if (number == kRootNumber) {
    return &root_;
  }
  const auto behind = std::ranges::lower_bound(layers_, number, {}, &Layer::number_base);
  if (behind == layers_.begin()) {
    return nullptr;
  }
  const Layer& layer = *std::prev(behind);
  const Result<std::string> path = layer.fs->path_of_number(number - layer.number_base);
  if (!path) {
    return nullptr;
  }
  const OverlayNode* node = &root_;
  for (const std::string_view name : path_components(*path)) {
    const Result<const OverlayContent*> entries = content(*node);
    node = entries ? find_name(**entries, name) : nullptr;
    if (node == nullptr) {
      return nullptr;
    }
  }
  return node->number == number ? node : nullptr;  // another layer's entry may hide it
}

inline Inode OverlayFileSystem::to_inode(const OverlayNode& dir, const OverlayContent& content,
                                         std::size_t index) const {
  return stable_ ? (dir.number << kIndexBits) + index + 1 : reinterpret_cast<Inode>(&content.nodes[index]);
}

Inode OverlayFileSystem::to_inode(const OverlayNode& node) {
  if (node.holder == nullptr) {
    return root();
  }
  // The table may have a directory a moment before the directory itself has its content; `content` waits for that.
  const OverlayNode& dir = *node.holder->self;
  const OverlayContent& entries = **content(dir);
  return to_inode(dir, entries, static_cast<std::size_t>(&node - entries.nodes.get()));
}

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
    if (stable_) {
      merged_.add(dir.self->number, result);
    }
  }
  dir.content.store(result, std::memory_order_release);
  return result;
}

Result<Entry> OverlayFileSystem::lookup(Inode dir, std::string_view name) {
  if (name.size() > limits::kNameBytes) {
    return fail(ENAMETOOLONG);
  }
  const OverlayNode& parent = find(dir);
  const Result<const OverlayContent*> found = content(parent);
  if (!found) {
    return fail(found.error());
  }
  const OverlayNode* const node = find_name(**found, name);
  if (node == nullptr) {
    return fail(ENOENT);
  }
  if (node->error != 0) {
    return fail(node->error);
  }
  const auto index = static_cast<std::size_t>(node - (*found)->nodes.get());
  return Entry{to_inode(parent, **found, index), attributes(*node)};
}

Result<Attributes> OverlayFileSystem::metadata(Inode inode) {
  const OverlayNode& node = find(inode);
  if (node.error != 0) {
    return fail(node.error);
  }
  return attributes(node);
}

Result<void> OverlayFileSystem::read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) {
  const OverlayNode& parent = find(dir);
  const Result<const OverlayContent*> found = content(parent);
  if (!found) {
    return fail(found.error());
  }
  for (std::size_t i = from; i < (*found)->count; ++i) {
    const OverlayNode& node = (*found)->nodes[i];
    if (!visit({.name = node.name_view(),
                .inode = node.error == 0 ? to_inode(parent, **found, i) : 0,
                .error = node.error,
                .next = i + 1,
                .attributes = attributes(node)})) {
      break;
    }
  }
  return {};
}

Result<std::uint64_t> OverlayFileSystem::parent_number(Inode dir) {
  const OverlayNode& node = find(dir);
  if (&node == &kStale) {
    return fail(ESTALE);
  }
  return node.holder == nullptr ? kRootNumber : node.holder->self->number;
}

Result<std::string_view> OverlayFileSystem::read_link(Inode inode) {
  const OverlayNode& node = find(inode);
  if (node.error != 0 || node.type != FileType::kSymlink) {
    return fail(node.error != 0 ? node.error : EINVAL);
  }
  return std::string_view(node.link, node.size);
}

Result<std::unique_ptr<OpenFile>> OverlayFileSystem::open(Inode inode) {
  const OverlayNode& node = find(inode);
  if (node.error != 0 || node.type == FileType::kDirectory) {
    return fail(node.error != 0 ? node.error : EISDIR);
  }
  return layers_[node.layer].fs->open(node.inode);
}

Result<Extent> OverlayFileSystem::extent(Inode inode) {
  const OverlayNode& node = find(inode);
  if (node.error != 0 || node.type == FileType::kDirectory) {
    return fail(node.error != 0 ? node.error : EISDIR);
  }
  return layers_[node.layer].fs->extent(node.inode);
}

Result<Place> OverlayFileSystem::place(Inode inode) {
  const OverlayNode& node = find(inode);
  if (node.holder == nullptr) {
    return fail(&node == &kStale ? ESTALE : EINVAL);
  }
  const OverlayContent& entries = **content(*node.holder->self);
  return Place{to_inode(*node.holder->self), static_cast<std::uint64_t>(&node - entries.nodes.get()) + 1};
}

bool OverlayFileSystem::is_immutable() const {
  return std::ranges::all_of(layers_, [](const Layer& layer) { return layer.fs->is_immutable(); });
}

Result<Origin> OverlayFileSystem::origin(Inode inode) {
  const OverlayNode& node = find(inode);
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
  const std::string visible = path_of(node);
  for (const std::string_view name : path_components(path_below(layer.mount_path, visible))) {
    path = join_path(path, name);
  }
  origin->path = std::move(path);
  return origin;
}

std::string OverlayFileSystem::path_of(const OverlayNode& node) {
  return node.holder == nullptr ? "/" : join_path(vfs::path_of(*node.holder), node.name_view());
}

std::uint64_t OverlayFileSystem::fingerprint() const {
  std::uint64_t hash = hash_of(layers_.size(), static_cast<std::uint64_t>(options_.conflicts));
  for (const Layer& layer : layers_) {
    const std::uint64_t own = layer.fs->fingerprint();
    if (own == 0 || !stable_) {
      return 0;
    }
    hash = hash_of(hash, own);
  }
  return hash | 1U;
}

std::vector<OverlayConflict> OverlayFileSystem::visit_all() {
  for (TreeWalk walk(*this, root(), {.directories_only = true}); walk.next();) {
  }
  return merger_.conflicts();
}

}  // namespace pkgfs::vfs
