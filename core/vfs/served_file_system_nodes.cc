// SPDX-License-Identifier: MIT
// The nodes of a ServedFileSystem, which are what it knows of names, and its counts.
#include <algorithm>
#include <memory>
#include <vector>

#include "core/vfs/served_file_system.h"

namespace pkgfs::vfs {

ServedFileSystem::NodePointer ServedFileSystem::find_node(Inode inode) const {
  const auto found = nodes_.find(inode);
  return found == nodes_.end() ? nullptr : found->second;
}

ServedFileSystem::NodePointer ServedFileSystem::current_node(const std::string& path) const {
  const auto found = current_.find(path);
  return found == current_.end() ? nullptr : find_node(found->second);
}

ServedFileSystem::NodePointer ServedFileSystem::make_node(Kind kind, const std::string& path) {
  if (const NodePointer before = current_node(path); before != nullptr) {
    before->current = false;
    if (before->references == 0 && before->slot == kNoSlot) {
      erase_note(*before);
      nodes_.erase(before->inode);
    } else {
      changed(*before);
    }
  }
  auto node = std::make_shared<Node>();
  node->kind = kind;
  node->inode = journal_ == nullptr ? ++last_node_ : journal_->next_inode();
  node->path = path;
  node->attributes = {.type = kind == Kind::kLink ? FileType::kSymlink : FileType::kDirectory,
                      .mode = static_cast<std::uint16_t>(kind == Kind::kLink ? 0777 : 0555),
                      .modified = options_.modified,
                      .number = number_of(path),
                      .live = true};
  node->looked = ++last_look_;
  nodes_.emplace(node->inode, node);
  current_[path] = node->inode;
  evict(node->inode);
  return node;
}

/// Forgets a node to which the kernel has no reference.
void ServedFileSystem::drop(const NodePointer& node) {
  if (node->inode == kRoot || node->slot != kNoSlot) {
    return;
  }
  if (node->current) {
    current_.erase(node->path);
  }
  erase_note(*node);
  nodes_.erase(node->inode);
}

Entry ServedFileSystem::held(Node& node) {
  ++node.references;
  node.looked = ++last_look_;
  if (!node.noted) {
    note(node);
  } else {
    journal_->count(node.inode, node.references);
  }
  return {.inode = node.inode, .attributes = node.attributes};
}

bool ServedFileSystem::has_names(const Node& node) const {
  if (node.kind != Kind::kNames || !node.current) {
    return false;
  }
  const std::string prefix = node.path + "/";
  const auto below = current_.lower_bound(prefix);
  return below != current_.end() && below->first.starts_with(prefix);
}

void ServedFileSystem::evict(Inode made) {
  constexpr std::size_t kEnough = kMostNodes - kMostNodes / 4;
  // An open tree and the directory above it stay. So there is always enough that can go.
  static_assert(2 * kSlots < kEnough);
  if (nodes_.size() <= kMostNodes) {
    return;
  }
  // A directory of names can go after the nodes of the names in it.
  while (nodes_.size() > kEnough) {
    std::vector<NodePointer> old;
    for (const auto& [inode, node] : nodes_) {
      if (inode != kRoot && inode != made && node->slot == kNoSlot && !has_names(*node)) {
        old.push_back(node);
      }
    }
    if (old.empty()) {
      return;
    }
    const std::size_t count = std::min(old.size(), nodes_.size() - kEnough);
    const auto last = old.begin() + static_cast<std::ptrdiff_t>(count);
    std::ranges::nth_element(old, last, {}, [](const NodePointer& node) { return node->looked; });
    old.erase(last, old.end());
    for (const NodePointer& node : old) {
      drop(node);
    }
  }
}

bool ServedFileSystem::has_found(const std::string& path) const {
  const std::string prefix = path + "/";
  for (auto used = current_.lower_bound(prefix); used != current_.end() && used->first.starts_with(prefix); ++used) {
    if (const NodePointer node = find_node(used->second); node->kind == Kind::kTree || node->kind == Kind::kLink) {
      return true;
    }
  }
  return false;
}

void ServedFileSystem::forget_old(Clock::time_point now) {
  std::erase_if(failures_, [&](const auto& each) { return now >= each.second.until; });
  std::vector<NodePointer> old;
  for (const auto& [inode, node] : nodes_) {
    const bool is_old = node->kind == Kind::kLink ? now >= node->until : !node->current;
    if (node->references == 0 && node->slot == kNoSlot && is_old) {
      old.push_back(node);
    }
  }
  for (const NodePointer& node : old) {
    drop(node);
  }
}

ServedFileSystem::Counts ServedFileSystem::counts() const {
  const MutexLock lock(mutex_);
  return {.open = held_.size() - static_cast<std::size_t>(std::ranges::count(held_, nullptr, &Held::tree)),
          .nodes = nodes_.size(),
          .opened = opened_,
          .closed = closed_,
          .failed = failed_};
}

std::vector<std::shared_ptr<HeldTree>> ServedFileSystem::open_trees() const {
  const MutexLock lock(mutex_);
  std::vector<std::shared_ptr<HeldTree>> all;
  for (const Held& held : held_) {
    if (held.tree != nullptr) {
      all.push_back(held.tree);
    }
  }
  return all;
}

}  // namespace pkgfs::vfs
