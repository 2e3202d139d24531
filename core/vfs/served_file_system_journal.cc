// SPDX-License-Identifier: MIT
// What a ServedFileSystem notes in its journal, and how it goes on with the nodes of a predecessor.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "core/vfs/served_file_system.h"

namespace pkgfs::vfs {
namespace {

constexpr std::uint16_t kPermissions = 07777;

}  // namespace

void ServedFileSystem::note(Node& node) {
  if (journal_ == nullptr) {
    return;
  }
  ServedNote note{.kind = node.kind,
                  .current = node.current,
                  .inode = node.inode,
                  .path = node.path,
                  .text = node.text,
                  .state = node.state,
                  .error = node.error,
                  .attributes = node.attributes,
                  .references = node.references,
                  .listed = node.listing_hash,
                  .slot = std::nullopt,
                  .base = 0,
                  .fingerprint = node.fingerprint,
                  .recipe = node.recipe};
  if (node.slot != kNoSlot) {
    note.slot = node.slot;
    note.base = slots_[node.slot]->base;
  }
  journal_->put(note);
  node.noted = true;
}

void ServedFileSystem::erase_note(Node& node) {
  if (std::exchange(node.noted, false)) {
    journal_->erase(node.inode);
  }
}

ServedFileSystem::Slot& ServedFileSystem::make_slot(std::size_t index) {
  std::unique_ptr<Slot>& slot = slots_.at(index);
  if (slot == nullptr) {
    slot = std::make_unique<Slot>();
    slot->index = index;
    if (journal_ != nullptr) {
      slot->references = &journal_->references(index);
      slot->other_references = journal_->other_references(index);
    }
  }
  return *slot;
}

void ServedFileSystem::use_journal(ServedJournal& journal, std::vector<ServedNote> notes) {
  const MutexLock lock(mutex_);
  journal_ = &journal;
  for (std::size_t i = 0; i < kSlots; ++i) {
    make_slot(i);  // the kernel may know inodes in any of them, also if nothing was noted or another process made them
  }
  std::ranges::sort(notes, {}, &ServedNote::inode);
  for (ServedNote& each : notes) {
    restore(each);
  }
  note(*find_node(kRoot));
}

void ServedFileSystem::is_alone_now() {
  const MutexLock lock(mutex_);
  for (const std::unique_ptr<Slot>& slot : slots_) {
    if (slot != nullptr) {
      slot->other_references = nullptr;
    }
  }
}

void ServedFileSystem::restore(ServedNote& note) {
  if (note.inode == kRoot && note.kind == Kind::kNames && note.path.empty()) {
    Node& root = *find_node(kRoot);
    root.attributes.modified = note.attributes.modified;
    root.attributes.modified_ns = note.attributes.modified_ns;
    root.listing_hash = note.listed;
    earlier_kept_listings_.insert(kRoot);
    return;
  }
  if (note.references == 0 && !note.slot) {
    journal_->erase(note.inode);  // the kernel doesn't know it
    return;
  }
  if (nodes_.contains(note.inode)) {
    return;
  }
  const bool is_too_many = nodes_.size() > kMostNodes && !note.slot;  // what has a slot is always kept (`evict`)
  if (note.inode <= kRoot || is_inner(note.inode) || note.path.empty() || is_too_many ||
      note.path.find('\0') != std::string::npos || note.text.find('\0') != std::string::npos || note.error < 0 ||
      (note.kind == Kind::kLink && note.text.empty()) || (note.kind == Kind::kFailed && note.error == 0)) {
    journal_->erase(note.inode);  // it would take room for ever
    return;
  }
  auto node = std::make_shared<Node>();
  node->kind = note.kind;
  node->inode = note.inode;
  node->path = std::move(note.path);
  node->text = std::move(note.text);
  node->state = std::move(note.state);
  node->error = note.error;
  node->attributes = {.type = note.kind == Kind::kLink ? FileType::kSymlink : FileType::kDirectory,
                      .mode = static_cast<std::uint16_t>(note.attributes.mode & kPermissions),
                      .modified_ns = note.attributes.modified_ns,
                      .modified = note.attributes.modified,
                      .size = note.kind == Kind::kLink ? node->text.size() : note.attributes.size,
                      .number = note.attributes.number,
                      .links = note.attributes.links,
                      .live = note.attributes.live};
  node->references = note.references;
  node->looked = ++last_look_;
  node->current = note.current && current_.emplace(node->path, node->inode).second;
  node->noted = true;
  node->fingerprint = note.fingerprint;
  node->recipe = std::move(note.recipe);
  node->listing_hash = note.listed;
  if (note.kind == Kind::kNames) {
    earlier_kept_listings_.insert(node->inode);  // another listing may be the one of now
  }
  if (note.kind == Kind::kTree && note.slot) {
    restore_slot(*node, note);
  }
  nodes_.emplace(node->inode, std::move(node));
}

void ServedFileSystem::restore_slot(Node& node, const ServedNote& note) {
  const std::size_t index = *note.slot;
  if (index >= kSlots || slots_[index]->unopened) {
    node.error = ESTALE;
    return;
  }
  held_.resize(std::max(held_.size(), index + 1));
  held_[index].root = node.inode;
  held_[index].path = node.path;
  held_[index].used = Clock::now();
  slots_[index]->base = note.base;
  slots_[index]->unopened = true;
  ++unopened_;
  node.slot = index;
}

void ServedFileSystem::give_up_unopened(Node& node) {
  held_[node.slot] = {};
  slots_[node.slot]->unopened = false;
  --unopened_;
  node.slot = kNoSlot;
}

void ServedFileSystem::free_unopened() {
  if (unopened_ == 0) {
    return;
  }
  for (std::size_t i = 0; i < held_.size(); ++i) {
    if (slots_[i]->unopened && *slots_[i]->references == 0) {
      const NodePointer kept = find_node(held_[i].root);
      Node& node = *kept;
      give_up_unopened(node);
      if (node.references == 0) {
        drop(kept);
      } else {
        changed(node);
      }
    }
  }
}

int ServedFileSystem::obstacle_of(Inode inode, bool below) const {
  if (!is_inner(inode) && !below) {
    return 0;
  }
  if (is_inner(inode)) {
    const Inner found = find_inner(inode);
    if (found.tree != nullptr || !found.slot->unopened) {
      return 0;
    }
  }
  const MutexLock lock(mutex_);
  const NodePointer node = find_node(is_inner(inode) ? held_root(inode) : inode);
  if (node == nullptr || (!is_inner(inode) && !is_unopened(*node))) {
    return 0;
  }
  const Result<Inner> tree = tree_at(*node);
  return tree ? 0 : tree.error();
}

}  // namespace pkgfs::vfs
