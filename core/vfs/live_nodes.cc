// SPDX-License-Identifier: MIT
#include "core/vfs/live_nodes.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace pkgfs::vfs {
namespace {

constexpr std::size_t kKeptListings = 4;

}  // namespace

LiveNodes::~LiveNodes() {
  std::vector<LiveNode*> pending;
  pending.assign(replaced_.begin(), replaced_.end());
  for (const auto& [name, child] : root_.children) {
    pending.push_back(child);
  }
  while (!pending.empty()) {
    LiveNode* node = pending.back();
    pending.pop_back();
    for (const auto& [name, child] : node->children) {
      pending.push_back(child);
    }
    for (const LiveNode::Part& part : node->parts) {
      release(part);
    }
    delete node;
  }
}

LiveNode& LiveNodes::add(std::unique_ptr<LiveNode> fresh) {
  LiveNode& parent = *fresh->parent;
  LiveNode* same = nullptr;
  {
    const MutexLock lock(mutex_);
    const auto known = parent.children.find(fresh->name);
    if (known != parent.children.end() && known->second->number == fresh->number &&
        known->second->generation == fresh->generation && known->second->type == fresh->type &&
        known->second->link == fresh->link &&
        std::ranges::equal(known->second->parts, fresh->parts, {}, &LiveNode::Part::layer, &LiveNode::Part::layer)) {
      same = known->second;
      ++same->references;
    } else {
      fresh->references = 1;
      ++parent.references;
      if (known != parent.children.end()) {
        replaced_.insert(known->second);
        known->second->known.entry_changed = true;  // its path and those below it lead elsewhere now
      }
      parent.children.insert_or_assign(fresh->name, fresh.get());
    }
  }
  if (same == nullptr) {
    return *fresh.release();
  }
  for (const LiveNode::Part& part : fresh->parts) {
    release(part);
  }
  return *same;
}

void LiveNodes::forget(LiveNode& node, std::uint64_t count) {
  LiveNode* which = &node;
  while (which != &root_) {
    LiveNode* const parent = which->parent;
    {
      const MutexLock lock(mutex_);
      which->references -= count;
      if (which->references != 0) {
        return;
      }
      const auto known = parent->children.find(which->name);
      if (known != parent->children.end() && known->second == which) {
        parent->children.erase(known);
      } else {
        replaced_.erase(which);
      }
    }
    if (dropped_ && which->type == FileType::kDirectory) {
      dropped_(*which);
    }
    for (const LiveNode::Part& part : which->parts) {
      release(part);
    }
    delete which;
    which = parent;
    count = 1;
  }
}

void LiveNodes::release(const LiveNode::Part& part) const {
  if (layers_[part.layer].live) {
    layers_[part.layer].fs->forget(part.inode, 1);
  }
}

void LiveNodes::visit(LiveNode& node, FunctionRef<bool(LiveNode&)> visit) {
  const MutexLock lock(mutex_);
  if ((&node == &root_ || node.references > 0) && visit(node)) {
    ++node.references;
  }
}

void LiveNodes::visit_child(const LiveNode& dir, std::string_view name, FunctionRef<bool(LiveNode&)> visit) {
  const MutexLock lock(mutex_);
  const auto found = dir.children.find(name);
  if (found != dir.children.end() && visit(*found->second)) {
    ++found->second->references;
  }
}

void LiveNodes::visit_all(FunctionRef<bool(LiveNode&)> visit) {
  const MutexLock lock(mutex_);
  std::vector<LiveNode*> pending{&root_};
  while (!pending.empty()) {
    LiveNode* const node = pending.back();
    pending.pop_back();
    for (const auto& [name, child] : node->children) {
      pending.push_back(child);
    }
    if (visit(*node)) {
      ++node->references;
    }
  }
}

void LiveNodes::keep_listing(LiveNode& directory, const std::shared_ptr<LiveListing>& listing) {
  const MutexLock lock(mutex_);
  listing->generation = directory.listings.empty() ? 0 : directory.listings.front()->generation + 1;
  directory.listings.push_front(listing);
  if (directory.listings.size() > kKeptListings) {
    directory.listings.pop_back();
  }
}

std::shared_ptr<const LiveListing> LiveNodes::find_listing(const LiveNode& directory, std::uint64_t generation) {
  constexpr std::uint64_t kGenerationBits = 0x3fffffffU;
  const MutexLock lock(mutex_);
  const auto found = std::ranges::find_if(directory.listings, [generation](const auto& kept) {
    return (kept->generation & kGenerationBits) == generation;
  });
  return found == directory.listings.end() ? nullptr : *found;
}

std::string path_of(const LiveNode& node) {
  std::vector<std::string_view> names;
  for (const LiveNode* here = &node; here->parent != nullptr; here = here->parent) {
    names.push_back(here->name);
  }
  std::reverse(names.begin(), names.end());
  return absolute_path(names);
}

}  // namespace pkgfs::vfs
