// SPDX-License-Identifier: MIT
// How one tree of live directories takes the place of another (LiveOverlayFileSystem::replace).
#include <algorithm>
#include <set>
#include <utility>

#include "core/base/error.h"
#include "core/vfs/live_overlay_file_system.h"

namespace pkgfs::vfs {
namespace {

/// How often a replacement is prepared anew because of look-ups of names that weren't known before.
constexpr int kAttempts = 16;

}  // namespace

LiveContent LiveOverlayFileSystem::root_content(const std::vector<std::uint32_t>& layers) {
  std::vector<Candidate> candidates;
  for (const std::uint32_t layer : layers) {
    const Inode inode = layers_[layer].fs->root();
    if (const Result<Attributes> attributes = layers_[layer].fs->metadata(inode); attributes) {
      candidates.push_back({layer, 0, {inode, *attributes}});
    }
  }
  LiveContent content;
  if (candidates.empty()) {
    return content;
  }
  const Decision decision = choose(candidates);
  content.winner = decision.winner;
  for (std::size_t i = 0; i < decision.count; ++i) {
    content.parts.push_back(take_part(candidates[i]));
  }
  return content;
}

LiveContent::Part LiveOverlayFileSystem::take_part(const Candidate& candidate) {
  layers_.add_user(candidate.layer);
  return {candidate.layer, candidate.entry.inode};
}

std::vector<std::uint32_t> LiveOverlayFileSystem::take_layers(LiveOverlayFileSystem& other) {
  std::vector<std::uint32_t> taken(other.shown_.size(), kNoLayer);
  std::set<std::uint32_t> used;
  for (std::size_t i = 0; i < taken.size(); ++i) {
    const std::string& key = other.layers_[other.shown_[i]].key;
    const auto same = std::ranges::find_if(shown_, [&](std::uint32_t shown) {
      return !key.empty() && layers_[shown].key == key && !used.contains(shown);
    });
    if (same != shown_.end()) {
      taken[i] = *same;
      used.insert(*same);
    }
  }
  if (const auto fresh = taken.size() - used.size(); fresh > layers_.room()) {
    throw Error(ErrorCode::kUnsupported, "The new tree has " + std::to_string(fresh) +
                                             " other layers than the old one, and too many of former trees are still "
                                             "in use; unmount it and mount it again");
  }
  for (std::size_t i = 0; i < taken.size(); ++i) {
    if (taken[i] == kNoLayer) {
      Layer layer = std::move(other.layers_[other.shown_[i]]);
      if (host_numbers_.device == 0) {
        host_numbers_.device = layer.fs->device();
      }
      layer.fs->number_hosts(host_numbers_);
      taken[i] = layers_.add(std::move(layer));
    }
  }
  return taken;
}

void LiveOverlayFileSystem::prepare(LiveReplacement& replacement, std::vector<LiveNode*>& held) {
  for (std::size_t i = 0; i < replacement.directories.size(); ++i) {
    LiveNode& node = *replacement.directories[i].node;
    const LiveContent& content = *replacement.directories[i].content;
    for (LiveNode* const child : nodes_.hold_children(node)) {
      held.push_back(child);
      if (!replacement.directories[i].seen.insert(child).second) {
        continue;
      }
      std::vector<Candidate> candidates = ask_layers(content, child->name);
      if (candidates.empty()) {
        continue;
      }
      Result<Settled> found = settle(node, content, child->name, candidates);
      if (!found) {
        continue;
      }
      if (found->node == nullptr) {
        forget(found->entry.inode, 1);
      } else if (!LiveNodes::are_same(*child, *found->node) && child->type == FileType::kDirectory &&
                 found->node->type == FileType::kDirectory) {
        replacement.directories[i].kept.insert(child);
        replacement.directories.push_back(
            {child, std::make_unique<const LiveContent>(std::move(found->node->first)), {}, {}});
      } else {
        if (LiveNodes::are_same(*child, *found->node)) {
          replacement.directories[i].kept.insert(child);
        }
        nodes_.release(found->node->first.parts);
      }
    }
  }
}

bool LiveOverlayFileSystem::is_handed_through_by(std::uint32_t layer, LiveNode& dir, const LiveContent& content,
                                                 std::string_view name) {
  std::vector<Candidate> candidates = ask_layers(content, name);
  if (candidates.empty()) {
    return false;
  }
  const Result<Settled> found = settle(dir, content, name, candidates);
  if (found && found->node != nullptr) {
    nodes_.release(found->node->first.parts);
    return false;
  }
  if (found) {
    forget(found->entry.inode, 1);
  }
  return found && candidates.front().layer == layer;
}

std::vector<Notice> LiveOverlayFileSystem::vanished(const LiveReplacement& replacement) {
  std::vector<Notice> names;
  for (const LiveReplacement::Directory& changed : replacement.directories) {
    for (const LiveContent::Part& part : changed.node->content().parts) {
      if (layers_[part.layer].live) {
        continue;
      }
      (void)layers_[part.layer].fs->read_dir(part.inode, 0, [&](const DirEntry& entry) {
        bool has_node = false;
        nodes_.visit_child(*changed.node, entry.name, [&has_node](LiveNode& /*child*/) {
          has_node = true;
          return false;
        });
        if (!has_node && !is_handed_through_by(part.layer, *changed.node, *changed.content, entry.name)) {
          names.push_back({.inode = inode_of(*changed.node), .name = std::string(entry.name)});
        }
        return true;
      });
    }
  }
  return names;
}

void LiveOverlayFileSystem::replace(LiveOverlayFileSystem& other) {
  const auto use = layers_.use();
  std::vector<std::uint32_t> taken = take_layers(other);
  const auto drop_but = [this](const std::vector<std::uint32_t>& dropped, const std::vector<std::uint32_t>& kept) {
    for (const std::uint32_t layer : dropped) {
      if (std::ranges::find(kept, layer) == kept.end()) {
        layers_.drop_users(layer, 1);
      }
    }
  };
  LiveReplacement replacement;
  std::vector<LiveNode*> held;  // children of nodes that the kernel knows
  const auto let_go = [&] {
    for (const LiveReplacement::Directory& changed : replacement.directories) {
      if (changed.content != nullptr) {
        nodes_.release(changed.content->parts);
      }
    }
    for (LiveNode* const child : held) {
      nodes_.forget(*child, 1);
    }
    for (LiveNode* const child : replacement.gone) {
      nodes_.forget(*child, 1);
    }
  };
  try {
    auto root = std::make_unique<LiveContent>(root_content(taken));
    if (root->parts.empty()) {
      throw Error(ErrorCode::kIo, "The directories of the new tree can't be read");
    }
    using Part = LiveContent::Part;
    if (std::ranges::equal(root->parts, nodes_.root().content().parts, {}, &Part::layer, &Part::layer)) {
      nodes_.release(root->parts);  // nothing that shows has changed
    } else {
      // Programs look names up meanwhile. A node that is added too late would be taken for one that goes.
      replacement.directories.push_back({&nodes_.root(), std::move(root), {}, {}});
      bool replaced = false;
      for (int attempt = 1; !replaced; ++attempt) {
        prepare(replacement, held);
        replaced = changes_.replace(replacement, vanished(replacement), attempt == kAttempts);
      }
    }
  } catch (...) {
    let_go();
    drop_but(taken, shown_);
    throw;
  }
  let_go();
  drop_but(shown_, taken);
  shown_ = std::move(taken);
  next_number_ = other.next_number_;
}

}  // namespace pkgfs::vfs
