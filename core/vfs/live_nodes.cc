// SPDX-License-Identifier: MIT
#include "core/vfs/live_nodes.h"

#include <algorithm>
#include <functional>
#include <memory>
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
    release(node->content().parts);
    delete node;
  }
}

bool LiveNodes::are_same(const LiveNode& known, const LiveNode& fresh) {
  const LiveContent& before = known.content();
  const LiveContent& now = fresh.content();
  return before.number == now.number && before.generation == now.generation && known.type == fresh.type &&
         known.link == fresh.link &&
         std::ranges::equal(before.parts, now.parts, {}, &LiveContent::Part::layer, &LiveContent::Part::layer);
}

LiveNode* LiveNodes::add(std::unique_ptr<LiveNode> fresh, const LiveContent& looked_up_in) {
  LiveNode& parent = *fresh->parent;
  LiveNode* same = nullptr;
  {
    const MutexLock lock(mutex_);
    const bool is_current = &parent.content() == &looked_up_in;
    const auto known = parent.children.find(fresh->name);
    if (is_current && known != parent.children.end() && are_same(*known->second, *fresh)) {
      same = known->second;
      ++same->references;
    } else if (is_current) {
      fresh->references = 1;
      ++parent.references;
      if (known != parent.children.end()) {
        replaced_.insert(known->second);
        known->second->known.entry_changed = true;  // its path and those below it lead elsewhere now
      }
      parent.children.insert_or_assign(fresh->name, fresh.get());
      return fresh.release();
    }
  }
  release(fresh->content().parts);
  return same;
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
    release(which->content().parts);
    delete which;
    which = parent;
    count = 1;
  }
}

void LiveNodes::release(const std::vector<LiveContent::Part>& parts) const {
  for (const LiveContent::Part& part : parts) {
    if (const Layer& layer = layers_[part.layer]; layer.live) {
      layer.fs->forget(part.inode, 1);
    }
    layers_.drop_users(part.layer, 1);
  }
}

std::vector<LiveNode*> LiveNodes::hold_children(const LiveNode& directory) {
  std::vector<LiveNode*> children;
  const MutexLock lock(mutex_);
  children.reserve(directory.children.size());
  for (const auto& [name, child] : directory.children) {
    ++child->references;
    children.push_back(child);
  }
  return children;
}

bool LiveNodes::replace(LiveReplacement& replacement, std::int64_t now, bool anyway) {
  struct Old {
    std::vector<LiveContent::Part> parts;
    std::unique_ptr<const LiveContent> content;  // null: it is the node's first
  };
  const auto retired = std::make_shared<std::vector<Old>>();
  std::function<void()> release_all = [this, retired] {
    for (const Old& old : *retired) {
      release(old.parts);
    }
  };
  retired->reserve(replacement.directories.size());
  {
    const MutexLock lock(mutex_);
    const auto has_unseen = [](const LiveReplacement::Directory& changed) {
      return std::ranges::any_of(changed.node->children,
                                 [&changed](const auto& child) { return !changed.seen.contains(child.second); });
    };
    if (!anyway && std::ranges::any_of(replacement.directories, has_unseen)) {
      return false;
    }
    for (LiveReplacement::Directory& changed : replacement.directories) {
      LiveNode& node = *changed.node;
      Old old{node.content().parts, nullptr};
      for (auto child = node.children.begin(); child != node.children.end();) {
        LiveNode* const gone = child->second;
        if (changed.kept.contains(gone)) {
          ++child;
          continue;
        }
        replacement.gone.push_back(gone);
        replaced_.insert(gone);
        ++gone->references;
        gone->known.entry_changed = true;
        child = node.children.erase(child);
      }
      old.content = std::exchange(node.later_, std::move(changed.content));
      node.content_.store(node.later_.get(), std::memory_order_release);
      node.known.changed_at = now;
      if (node.known.watch == LiveKnowledge::Watch::kWatched) {  // other directories are to be watched now
        node.known.tried_at = 0;
        node.known.watch = LiveKnowledge::Watch::kUnwatched;
      }
      retired->push_back(std::move(old));
    }
  }
  layers_.retire(std::move(release_all));
  return true;
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

void LiveNodes::visit_lost(FunctionRef<void(const LiveNode&)> visit) {
  const MutexLock lock(mutex_);
  std::vector<const LiveNode*> pending(replaced_.begin(), replaced_.end());
  while (!pending.empty()) {
    const LiveNode* const node = pending.back();
    pending.pop_back();
    for (const auto& [name, child] : node->children) {
      visit(*child);
      pending.push_back(child);
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
