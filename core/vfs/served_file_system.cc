// SPDX-License-Identifier: MIT
// How a ServedFileSystem answers requests. served_file_system_trees.cc has how it finds, opens and closes trees.
#include "core/vfs/served_file_system.h"

#include <algorithm>
#include <cerrno>

#include "core/base/limits.h"
#include "core/vfs/path_text.h"

namespace pkgfs::vfs {
namespace {

// Inodes of OverlayFileSystem have 31 bits for the number of the directory and 31 for the position in it.
constexpr unsigned kOverlayBits = 31;
constexpr Inode kOverlayMask = (Inode{1} << kOverlayBits) - 1;
constexpr Inode kTreeRoot = 1;
// Here: a bit that is always set, the slot, the directory, the position.
constexpr Inode kInner = Inode{1} << 63U;
constexpr unsigned kInnerSlotShift = 51;
constexpr unsigned kInnerDirectoryBits = 26;
constexpr unsigned kInnerPositionBits = 25;
constexpr Inode kInnerPositionMask = (Inode{1} << kInnerPositionBits) - 1;
static_assert(kInnerDirectoryBits + kInnerPositionBits == kInnerSlotShift);
static_assert(ServedFileSystem::kSlots == std::size_t{1} << (63U - kInnerSlotShift));

std::string_view directory_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

}  // namespace

std::string ServedFileSystem::path_in(const std::string& directory, std::string_view name) {
  return directory.empty() ? std::string(name) : directory + "/" + std::string(name);
}

/// Those of entries of trees are smaller.
std::uint64_t ServedFileSystem::number_of(std::string_view path) {
  constexpr std::uint64_t kNames = std::uint64_t{1} << 62U;
  return path.empty() ? 1 : kNames | (hash_of(0, path) >> 2U);
}

ServedFileSystem::ServedFileSystem(ServedNames& names, const Options& options) : names_(names), options_(options) {
  const MutexLock lock(mutex_);
  auto root = std::make_shared<Node>();
  root->inode = kRoot;
  root->attributes = {
      .type = FileType::kDirectory, .mode = 0555, .modified = options.modified, .number = 1, .live = true};
  nodes_.emplace(kRoot, std::move(root));
  current_.emplace("", kRoot);
}

ServedFileSystem::~ServedFileSystem() = default;

/// Sequentially consistent, as fuse::Answering needs it (`detach`).
ServedFileSystem::Inner ServedFileSystem::find_inner(Inode inode) const {
  Slot& slot = *slots_[(inode & ~kInner) >> kInnerSlotShift];
  const Inode packed = inode & ((Inode{1} << kInnerSlotShift) - 1);
  return {&slot, slot.tree.load(), ((packed >> kInnerPositionBits) << kOverlayBits) | (packed & kInnerPositionMask)};
}

Result<Inode> ServedFileSystem::to_inner(std::size_t slot, Inode inode) {
  const Inode directory = inode >> kOverlayBits;
  const Inode position = inode & kOverlayMask;
  if (directory >> kInnerDirectoryBits != 0 || position > kInnerPositionMask) {
    return fail(EOVERFLOW);
  }
  return kInner | (Inode{slot} << kInnerSlotShift) | (directory << kInnerPositionBits) | position;
}

std::size_t ServedFileSystem::slot_of_inode(Inode inode) const {
  return is_inner(inode) ? find_inner(inode).slot->index : kNoSlot;
}

Inode ServedFileSystem::inode_of(std::size_t slot, Inode inode) const {
  if (inode != kTreeRoot) {
    return to_inner(slot, inode).value_or(0);
  }
  const MutexLock lock(mutex_);
  return held_.at(slot).root;
}

void ServedFileSystem::touch(Slot& slot) {
  if (!slot.used.load(std::memory_order_relaxed)) {
    slot.used.store(true, std::memory_order_relaxed);
  }
}

void ServedFileSystem::add_reference(Slot& slot) {
  slot.references->fetch_add(1);
  if (std::atomic<std::uint64_t>* const other = slot.other_references.load(std::memory_order_relaxed)) {
    other->fetch_add(1);
  }
}

ServedFileSystem::Inner ServedFileSystem::use_inner(Inode inode) const {
  const Inner found = find_inner(inode);
  if (found.tree != nullptr) {
    touch(*found.slot);
  }
  return found;
}

Result<ServedFileSystem::Inner> ServedFileSystem::tree_at(const Node& dir) const {
  if (dir.error != 0) {
    return fail(dir.error);
  }
  if (dir.slot == kNoSlot || is_unopened(dir)) {
    const Failure* const failure = failure_of(dir.path, dir.state);
    if (failure == nullptr) {
      return fail(kMustWait);
    }
    return fail(failure->error == ENOENT ? EIO : failure->error);  // the kernel keeps for ever that an entry is absent
  }
  Slot& slot = *slots_[dir.slot];
  FileSystem* const tree = slot.tree.load();
  if (held_[dir.slot].hidden) {
    return fail(kMustWait);  // it is being closed
  }
  touch(slot);
  return Inner{&slot, tree, kTreeRoot};
}

Result<Entry> ServedFileSystem::lookup_inner(const Inner& dir, Inode shown, std::string_view name) {
  Result<Entry> entry = dir.tree->lookup(dir.inode, name);
  if (!entry) {
    if (entry.error() == ENOENT) {
      dir.slot->absent.load()->add(shown, name);
    }
    return entry;
  }
  const Result<Inode> inode = to_inner(dir.slot->index, entry->inode);
  if (!inode) {
    return fail(inode.error());
  }
  entry->inode = *inode;
  entry->attributes.number += dir.slot->base;
  add_reference(*dir.slot);
  return entry;
}

Result<Entry> ServedFileSystem::lookup(Inode dir, std::string_view name) {
  if (name.size() > limits::kNameBytes) {
    return fail(ENAMETOOLONG);
  }
  if (is_inner(dir)) [[likely]] {
    const Inner found = use_inner(dir);
    if (found.tree == nullptr) {
      return fail(missing(*found.slot));
    }
    return lookup_inner(found, dir, name);
  }
  NodePointer node;
  Result<Inner> tree = fail(ENOTDIR);
  {
    const MutexLock lock(mutex_);
    node = find_node(dir);
    if (node == nullptr) {
      return fail(ESTALE);
    }
    if (node->kind == Kind::kTree) {
      tree = tree_at(*node);
    } else if (node->kind == Kind::kFailed) {
      return fail(node->error);
    }
  }
  if (node->kind == Kind::kTree) {
    return tree ? lookup_inner(*tree, dir, name) : fail(tree.error());
  }
  return node->kind == Kind::kNames ? lookup_name(node, name) : fail(ENOTDIR);
}

Result<Entry> ServedFileSystem::lookup_name(const NodePointer& dir, std::string_view name) {
  using Meaning = ServedNames::Meaning::Kind;
  const ServedNames::Meaning meaning = names_.meaning_of(dir->path, name);  // without the lock: it may look at a disk
  if (meaning.kind == Meaning::kAbsent) {
    return fail(ENOENT);
  }
  const std::string path = path_in(dir->path, name);
  const auto now = Clock::now();
  if (meaning.kind == Meaning::kDirectory) {
    refresh(path);
  }
  const MutexLock lock(mutex_);
  const NodePointer node = current_node(path);
  switch (meaning.kind) {
    case Meaning::kAbsent:
      break;
    case Meaning::kDirectory:
      return held(node != nullptr && node->kind == Kind::kNames ? *node : *make_node(Kind::kNames, path));
    case Meaning::kLink:
      if (node == nullptr || node->text != meaning.text) {
        take_link(path, meaning.text);
      }
      return held(*current_node(path));
    case Meaning::kTree:
      if (node != nullptr && node->kind == Kind::kTree && node->state == meaning.state && node->error == 0) {
        return held(*node);
      }
      break;
    case Meaning::kFoundLink:
      if (node != nullptr && node->kind == Kind::kLink && now < node->until) {
        return held(*node);
      }
      break;
  }
  if (const Failure* const failure = failure_of(path, meaning.state); failure != nullptr) {
    if (failure->error == ENOENT) {
      return fail(ENOENT);
    }
    if (node != nullptr && node->kind == Kind::kFailed && node->until == failure->until) {
      return held(*node);
    }
    const NodePointer failed = make_node(Kind::kFailed, path);
    failed->error = failure->error;
    failed->text = failure->reason;
    failed->until = failure->until;
    return held(*failed);
  }
  return fail(kMustWait);
}

Result<Attributes> ServedFileSystem::metadata(Inode inode) {
  if (is_inner(inode)) {
    const Inner found = use_inner(inode);
    if (found.tree == nullptr) {
      return fail(missing(*found.slot));
    }
    Result<Attributes> attributes = found.tree->metadata(found.inode);
    if (attributes) {
      attributes->number += found.slot->base;
    }
    return attributes;
  }
  NodePointer node;
  {
    const MutexLock lock(mutex_);
    node = find_node(inode);
    if (node == nullptr || node->error == ESTALE) {
      return fail(ESTALE);
    }
    if (node->listing == nullptr) {
      return node->attributes;
    }
  }
  begin_listing(node);
  const MutexLock lock(mutex_);
  return node->attributes;
}

Result<std::uint64_t> ServedFileSystem::parent_number(Inode dir) {
  if (is_inner(dir)) {
    const Inner found = find_inner(dir);
    if (found.tree == nullptr) {
      return fail(missing(*found.slot));
    }
    const Result<std::uint64_t> number = found.tree->parent_number(found.inode);
    return number ? Result<std::uint64_t>(*number + found.slot->base) : number;
  }
  const MutexLock lock(mutex_);
  const NodePointer node = find_node(dir);
  return node == nullptr ? Result<std::uint64_t>(fail(ESTALE)) : number_of(directory_of(node->path));
}

Result<std::string_view> ServedFileSystem::read_link(Inode inode) {
  if (is_inner(inode)) {
    const Inner found = find_inner(inode);
    return found.tree == nullptr ? fail(missing(*found.slot)) : found.tree->read_link(found.inode);
  }
  thread_local NodePointer kept;  // until the next call, so that the text stays valid
  const MutexLock lock(mutex_);
  kept = find_node(inode);
  if (kept == nullptr || kept->kind != Kind::kLink) {
    return fail(kept == nullptr ? ESTALE : EINVAL);
  }
  return std::string_view(kept->text);
}

Result<std::unique_ptr<OpenFile>> ServedFileSystem::open(Inode inode) {
  if (!is_inner(inode)) {
    return fail(EISDIR);
  }
  const Inner found = use_inner(inode);
  if (found.tree == nullptr) {
    return fail(missing(*found.slot));
  }
  return found.tree->open(found.inode);
}

Result<Extent> ServedFileSystem::extent(Inode inode) {
  if (!is_inner(inode)) {
    return fail(EISDIR);
  }
  const Inner found = use_inner(inode);
  if (found.tree == nullptr) {
    return fail(missing(*found.slot));
  }
  return found.tree->extent(found.inode);
}

bool ServedFileSystem::is_intact(Inode inode) {
  if (!is_inner(inode)) {
    return true;
  }
  const Inner found = find_inner(inode);
  return found.tree != nullptr && found.tree->is_intact(found.inode);
}

void ServedFileSystem::hold(Inode inode) { add_reference(*find_inner(inode).slot); }

void ServedFileSystem::forget(Inode inode, std::uint64_t count) {
  if (is_inner(inode)) {
    Slot& slot = *find_inner(inode).slot;
    slot.references->fetch_sub(count);
    if (std::atomic<std::uint64_t>* const other = slot.other_references.load(std::memory_order_relaxed)) {
      other->fetch_sub(count);
    }
    return;
  }
  const MutexLock lock(mutex_);
  const NodePointer node = find_node(inode);
  if (node == nullptr || inode == kRoot) {
    return;
  }
  node->references -= std::min(count, node->references);
  if (node->noted) {
    journal_->count(inode, node->references);
  }
  // A link is kept until it is to be searched for again.
  if (node->references == 0 && (node->kind != Kind::kLink || !node->current)) {
    drop(node);
  }
}

Result<Origin> ServedFileSystem::origin(Inode inode) {
  if (is_inner(inode)) {
    const Inner found = find_inner(inode);
    return found.tree == nullptr ? fail(missing(*found.slot)) : found.tree->origin(found.inode);
  }
  Result<Inner> tree = fail(ENODATA);
  {
    const MutexLock lock(mutex_);
    const NodePointer node = find_node(inode);
    if (node != nullptr && node->kind == Kind::kTree) {
      tree = tree_at(*node);
    }
  }
  return tree ? tree->tree->origin(tree->inode) : fail(ENODATA);
}

}  // namespace pkgfs::vfs
