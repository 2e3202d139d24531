// SPDX-License-Identifier: MIT
#include "core/vfs/overlay_file_system.h"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/limits.h"
#include "core/base/lost_pages.h"
#include "core/base/read_faults.h"
#include "core/base/read_section.h"
#include "core/vfs/walk.h"

namespace pkgfs::vfs {

namespace {

constexpr unsigned kIndexBits = 31;  // and as many for the number of the directory: inodes are below 2^62
constexpr std::uint64_t kIndexMask = (std::uint64_t{1} << kIndexBits) - 1;
constexpr Inode kRoot = 1;  // the first entry of directory 0; the kernel's own id of every root

/// Stands for an inode that is none.
const OverlayNode kStale = [] {
  OverlayNode node;
  node.error = ESTALE;
  return node;
}();

std::size_t index_of(Inode inode) { return (inode & kIndexMask) - 1; }

}  // namespace

OverlayFileSystem::OverlayFileSystem(std::vector<Layer> layers, const OverlayOptions& options, Inodes inodes)
    : layers_(std::move(layers)),
      options_(options),
      stable_(inodes == Inodes::kStable &&
              layers_.back().number_base + layers_.back().fs->numbers() < std::uint64_t{1} << kIndexBits),
      merger_(layers_, options_, stable_),
      root_((top_.nodes = std::make_unique<OverlayNode[]>(1))[0]),
      cache_(stable_ ? options.memory : std::numeric_limits<std::size_t>::max()) {
  top_.count = 1;
  merger_.make_root(root_, top_);
  cache_.pin(top_);
}

OverlayFileSystem::~OverlayFileSystem() = default;

Inode OverlayFileSystem::root() const { return stable_ ? kRoot : reinterpret_cast<Inode>(&root_); }

inline const OverlayNode& OverlayFileSystem::find(Inode inode, OverlayRoom& room) {
  if (!stable_) {
    return *reinterpret_cast<const OverlayNode*>(inode);  // NOLINT(performance-no-int-to-ptr)
  }
  const OverlayContent* const content = cache_.find(inode >> kIndexBits);
  return content != nullptr ? entry(*content, inode, room) : find_unmerged(inode, room);
}

const OverlayNode& OverlayFileSystem::find_unmerged(Inode inode, OverlayRoom& room) {
  {
    // First each directory on the way in a section of its own, so that evicted ones can be freed meanwhile.
    const ReadPause pause;
    const std::vector<Inode> chain = way_to(inode).chain;
    for (std::size_t i = chain.size(); i > 0; --i) {
      const ReadSection reading;
      (void)directory_of(chain[i - 1]);
    }
  }
  // Then in the caller's section: other threads can evict what this one finds now, but not take it away.
  const Result<const OverlayContent*> found = directory_of(inode);
  return found ? entry(**found, inode, room) : room.failed(found.error());
}

OverlayFileSystem::Way OverlayFileSystem::way_to(Inode inode) {
  Way way;
  for (Inode below = inode;;) {
    const std::uint64_t number = below >> kIndexBits;
    Inode dir = 0;
    {
      const ReadSection reading;
      way.merged = cache_.find(number);
      dir = way.merged == nullptr ? cache_.evicted(number) : 0;
    }
    if (way.merged != nullptr) {
      return way;
    }
    if (dir == 0) {
      const Result<Inode> found = find_directory(number);
      if (!found) {
        return {.merged = nullptr, .error = found.error(), .chain = {}};
      }
      dir = *found;
    }
    if (way.chain.size() > limits::kTreeDepth) {
      return {.merged = nullptr, .error = ESTALE, .chain = {}};
    }
    way.chain.push_back(dir);
    below = dir;
  }
}

Result<const OverlayContent*> OverlayFileSystem::directory_of(Inode inode) {
  Way way = way_to(inode);
  if (way.merged == nullptr) {
    return fail(way.error);
  }
  Result<const OverlayContent*> found = way.merged;
  while (found && !way.chain.empty()) {
    const Inode dir = way.chain.back();
    way.chain.pop_back();
    const std::uint64_t number = (way.chain.empty() ? inode : way.chain.back()) >> kIndexBits;
    OverlayRoom room;
    const OverlayNode& node = entry(**found, dir, room);
    if (node.error == 0 && (node.number != number || node.type != FileType::kDirectory)) {
      return fail(ESTALE);
    }
    found = content(node, dir);
  }
  return found;
}

const OverlayNode& OverlayFileSystem::entry(const OverlayContent& content, Inode inode, OverlayRoom& room) {
  if (content.error != 0) {
    return room.failed(content.error);
  }
  const std::size_t index = index_of(inode);
  return index < content.count ? content.at(index, room) : kStale;
}

Result<Inode> OverlayFileSystem::find_directory(std::uint64_t number) {
  if (number == kRootNumber) {
    return root();
  }
  const auto behind = std::ranges::lower_bound(layers_, number, {}, &Layer::number_base);
  if (behind == layers_.begin()) {
    return fail(ESTALE);
  }
  const Layer& layer = *std::prev(behind);
  const Result<std::string> path = layer.fs->path_of_number(number - layer.number_base);
  if (!path) {
    return fail(path.error() == ENOENT ? ESTALE : path.error());
  }
  Entry entry{root(), attributes(root_)};
  for (const std::string_view name : path_components(*path)) {
    const Result<Entry> found = lookup(entry.inode, name);
    if (!found) {
      return fail(found.error() == ENOENT ? ESTALE : found.error());
    }
    entry = *found;
  }
  if (entry.attributes.number != number) {
    return fail(ESTALE);  // another layer's entry hides it
  }
  return entry.inode;
}

inline Inode OverlayFileSystem::to_inode(const OverlayContent& content, std::size_t index,
                                         const OverlayNode& node) const {
  return stable_ ? (content.number << kIndexBits) + index + 1 : reinterpret_cast<Inode>(&node);
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
          .live = false,
          .may_be_program = node.may_be_program};
}

inline Result<const OverlayContent*> OverlayFileSystem::content(const OverlayNode& node, Inode inode) {
  if (node.error != 0) {
    return fail(node.error);
  }
  if (node.type != FileType::kDirectory) {
    return fail(ENOTDIR);
  }
  const OverlayContent* content = cache_.find(node.number);
  if (content == nullptr) [[unlikely]] {
    const Result<const OverlayContent*> merged = merge(node, inode);
    if (!merged) {
      return merged;
    }
    content = *merged;
  }
  if (content->error != 0) {
    return fail(content->error);
  }
  return content;
}

Result<const OverlayContent*> OverlayFileSystem::merge(const OverlayNode& node, Inode inode) {
  const MutexLock lock(merge_locks_.at(node.number % kMergeLocks));
  if (const OverlayContent* done = cache_.find(node.number); done != nullptr) {
    return done;
  }
  std::unique_ptr<OverlayContent> content = merger_.merge(node, inode);
  if (content->error != 0 && (lost_pages::ever() || !parts_are_intact(node))) {
    return fail(content->error);  // perhaps no damage that stays: the next access tries again
  }
  return cache_.add(std::move(content));
}

Result<Entry> OverlayFileSystem::lookup(Inode dir, std::string_view name) {
  if (name.size() > limits::kNameBytes) {
    return fail(ENAMETOOLONG);
  }
  const ReadSection reading;
  OverlayRoom room;
  const OverlayNode& parent = find(dir, room);
  const Result<const OverlayContent*> found = content(parent, dir);
  if (!found) {
    return fail(found.error());
  }
  std::size_t index = 0;
  OverlayRoom room_of_entry;
  const OverlayNode* node = (*found)->find(name, index, room_of_entry);
  if (node == nullptr) {
    const Result<const OverlayNode*> confirmed = confirm_absence(parent, **found, name, index);
    if (!confirmed) {
      return fail(confirmed.error());
    }
    node = *confirmed;
  }
  if (node->error != 0) {
    return fail(node->error);
  }
  Result<Entry> entry = Entry{to_inode(**found, index, *node), attributes(*node)};
  if (node->may_be_program) [[unlikely]] {
    if (const Result<void> read = read_mode({node->layer, node->inode}, entry->attributes); !read) {
      return fail(read.error());
    }
  }
  return entry;
}

Result<Attributes> OverlayFileSystem::metadata(Inode inode) {
  const ReadSection reading;
  OverlayRoom room;
  const OverlayNode& node = find(inode, room);
  if (node.error != 0) {
    return fail(node.error);
  }
  Result<Attributes> shown = attributes(node);
  if (node.may_be_program) [[unlikely]] {
    if (const Result<void> read = read_mode({node.layer, node.inode}, *shown); !read) {
      return fail(read.error());
    }
  }
  return shown;
}

Result<void> OverlayFileSystem::read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) {
  const ReadSection reading;
  OverlayRoom room;
  const OverlayNode& listed = find(dir, room);
  const Result<const OverlayContent*> found = content(listed, dir);
  if (!found) {
    return fail(found.error());
  }
  const OverlayContent& entries = **found;
  const std::uint64_t before = lost_pages::events();
  std::size_t end = from;
  const int error = entries.visit(from, [&](std::size_t index, const OverlayNode& node) {
    end = index + 1;
    return visit({.name = node.name_view(),
                  .inode = node.error == 0 ? to_inode(entries, index, node) : 0,
                  .error = node.error,
                  .next = index + 1,
                  .attributes = attributes(node)});
  });
  return error == 0 ? confirm_names(listed, entries, from, end, before) : fail(error);
}

Result<std::uint64_t> OverlayFileSystem::parent_number(Inode dir) {
  const ReadSection reading;
  OverlayRoom room;
  const OverlayNode& node = find(dir, room);
  if (node.error != 0) {
    return fail(node.error);
  }
  return node.holder == nullptr ? kRootNumber : node.holder->number;
}

Result<std::string_view> OverlayFileSystem::read_link(Inode inode) {
  const ReadSection reading;
  OverlayRoom room;
  const OverlayNode& node = find(inode, room);
  if (node.error != 0 || node.type != FileType::kSymlink) {
    return fail(node.error != 0 ? node.error : EINVAL);
  }
  return std::string_view(node.link, node.size);
}

Result<std::unique_ptr<OpenFile>> OverlayFileSystem::open(Inode inode) {
  OverlayPart part;
  {
    const ReadSection reading;
    OverlayRoom room;
    const OverlayNode& node = find(inode, room);
    if (node.error != 0 || node.type == FileType::kDirectory) {
      return fail(node.error != 0 ? node.error : EISDIR);
    }
    part = {node.layer, node.inode};
  }
  return layers_[part.layer].fs->open(part.inode);  // outside of the section: it may read the whole file to check it
}

Result<Extent> OverlayFileSystem::extent(Inode inode) {
  const ReadSection reading;
  OverlayRoom room;
  const OverlayNode& node = find(inode, room);
  if (node.error != 0 || node.type == FileType::kDirectory) {
    return fail(node.error != 0 ? node.error : EISDIR);
  }
  return layers_[node.layer].fs->extent(node.inode);
}

Result<Place> OverlayFileSystem::place(Inode inode) {
  const ReadSection reading;
  OverlayRoom room;
  const OverlayNode& node = find(inode, room);
  if (node.holder == nullptr) {
    return fail(node.error != 0 ? node.error : EINVAL);
  }
  const std::size_t index = stable_ ? index_of(inode) : static_cast<std::size_t>(&node - node.holder->nodes.get());
  return Place{node.holder->directory, index + 1};
}

bool OverlayFileSystem::is_intact(Inode inode) {
  const ReadSection reading;
  OverlayRoom room;
  const OverlayNode& node = find(inode, room);
  if (node.error != 0) {
    return false;
  }
  return node.type == FileType::kDirectory ? parts_are_intact(node) : layers_[node.layer].fs->is_intact(node.inode);
}

bool OverlayFileSystem::is_immutable() const {
  return std::ranges::all_of(layers_, [](const Layer& layer) { return layer.fs->is_immutable(); });
}

Result<Origin> OverlayFileSystem::origin(Inode inode) {
  const ReadSection reading;
  OverlayRoom room;
  const OverlayNode& node = find(inode, room);
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
  const std::string visible = node.holder == nullptr ? "/" : join_path(node.holder->path->text(), node.name_view());
  for (const std::string_view name : path_components(path_below(layer.mount_path, visible))) {
    path = join_path(path, name);
  }
  origin->path = std::move(path);
  return origin;
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
  constexpr std::size_t kBatch = 1024;
  merger_.collect_conflicts();
  for (TreeWalk walk(*this, root(), {.directories_only = true, .batch = kBatch}); walk.next();) {
  }
  return merger_.take_conflicts();
}

}  // namespace pkgfs::vfs
