// SPDX-License-Identifier: MIT
#include "core/vfs/overlay_merger.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "core/base/log.h"
#include "core/vfs/path_text.h"

namespace pkgfs::vfs {

/// A name of one layer's directory.
struct OverlayMerger::NamedCandidate {
  std::string_view name;
  Candidate candidate;
};

std::string path_of(const OverlayDirectory& directory) {
  std::vector<std::string_view> names;
  for (const OverlayDirectory* here = &directory; here->self != nullptr && here->self->holder != nullptr;
       here = here->self->holder) {
    names.push_back(here->self->name_view());
  }
  std::reverse(names.begin(), names.end());
  return absolute_path(names);
}

void OverlayMerger::make_root(OverlayNode& root, OverlayDirectory& directory) {
  std::vector<Candidate> candidates;
  for (std::uint32_t i = 0; i < layers_.size(); ++i) {
    Candidate candidate{.layer = i, .error = 0, .entry = {layers_[i].fs->root(), {}}};
    const Result<Attributes> attributes = layers_[i].fs->metadata(candidate.entry.inode);
    if (attributes) {
      candidate.entry.attributes = *attributes;
    } else {
      candidate.error = attributes.error();
    }
    candidates.push_back(candidate);
  }
  OverlayContent unused;
  unused.directories = std::make_unique<OverlayDirectory[]>(1);
  fill_node(root, unused, directory, {}, candidates);
  root.holder = nullptr;
  root.number = kRootNumber;
  directory.first = unused.directories[0].first;
  directory.more = std::move(unused.directories[0].more);
  directory.self = &root;
  root.directory = &directory;
}

std::unique_ptr<OverlayContent> OverlayMerger::merge(const OverlayDirectory& dir) {
  auto content = std::make_unique<OverlayContent>();
  std::vector<NamedCandidate> named;
  const auto collect = [&](const OverlayDirectory::Part& part) {
    const Result<void> listed = layers_[part.layer].fs->read_dir(part.inode, 0, [&](const DirEntry& entry) {
      named.push_back({entry.name, {part.layer, entry.error, {entry.inode, entry.attributes}}});
      return true;
    });
    if (!listed) {
      content->error = listed.error();
    }
  };
  collect(dir.first);
  std::for_each(dir.more.begin(), dir.more.end(), collect);
  if (content->error == 0) {
    fill(*content, dir, named);
  }
  return content;
}

void OverlayMerger::fill(OverlayContent& content, const OverlayDirectory& dir, std::vector<NamedCandidate>& named) {
  // Each part comes sorted; a stable sort of the runs keeps the layers of one name in their order.
  const auto by_name = [](const NamedCandidate& a, const NamedCandidate& b) { return a.name < b.name; };
  if (!dir.more.empty()) {
    std::stable_sort(named.begin(), named.end(), by_name);
  }
  std::size_t names = 0;
  std::size_t directories = 0;  // of any layer: at least as many as will show
  for (std::size_t i = 0; i < named.size(); ++i) {
    names += i == 0 || named[i].name != named[i - 1].name ? 1 : 0;
    directories += named[i].candidate.is_directory() ? 1 : 0;
  }
  content.nodes = std::make_unique<OverlayNode[]>(names);
  if (directories != 0) {
    content.directories = std::make_unique<OverlayDirectory[]>(directories);
  }
  std::vector<Candidate> candidates;
  for (auto it = named.begin(); it != named.end();) {
    const std::string_view name = it->name;
    candidates.clear();
    for (; it != named.end() && it->name == name; ++it) {
      candidates.push_back(it->candidate);
    }
    fill_node(content.nodes[content.count++], content, dir, name, candidates);
  }
}

void OverlayMerger::fill_node(OverlayNode& node, OverlayContent& content, const OverlayDirectory& dir,
                              std::string_view name, std::vector<Candidate>& candidates) {
  const Decision decision =
      decide(candidates, options_.conflicts, [this](std::uint32_t layer) { return layers_[layer].mount_path.size(); });
  const Candidate& winner = candidates[decision.winner];
  const Attributes& from = winner.entry.attributes;
  node.name = name.data();
  node.name_length = static_cast<std::uint8_t>(name.size());
  node.holder = &dir;
  node.inode = winner.entry.inode;
  node.layer = winner.layer;
  node.error = winner.error;
  node.type = from.type;
  node.mode = from.mode;
  node.size = from.size;
  node.modified = from.modified;
  node.modified_ns = from.modified_ns;
  node.synthetic = from.synthetic;
  node.number = dir.self == nullptr ? kRootNumber : layers_[winner.layer].number_base + from.number;
  if (decision.conflict && !layers_[candidates[decision.hidden].layer].fallback) {
    const MutexLock lock(mutex_);
    conflicts_.push_back({dir.self == nullptr ? "/" : join_path(path_of(dir), name), layers_[winner.layer].label(),
                          layers_[candidates[decision.hidden].layer].label()});
  }
  if (winner.error != 0) {
    return;
  }
  if (node.type == FileType::kDirectory) {
    OverlayDirectory& child = content.directories[content.directory_count++];
    child.self = &node;
    for (std::size_t i = 0; i < decision.count; ++i) {
      const OverlayDirectory::Part part{candidates[i].layer, candidates[i].entry.inode};
      node.mount_ancestor |= candidates[i].entry.attributes.mount_ancestor;
      if (i == 0) {
        child.first = part;
      } else {
        child.more.push_back(part);
      }
    }
    node.directory = &child;
  } else if (node.type == FileType::kSymlink) {
    fill_link(node, content, dir, name);
  }
}

void OverlayMerger::fill_link(OverlayNode& node, OverlayContent& content, const OverlayDirectory& dir,
                              std::string_view name) {
  const Layer& layer = layers_[node.layer];
  const Result<std::string_view> text = layer.fs->read_link(node.inode);
  if (!text) {
    node.error = text.error();
    return;
  }
  std::string_view shown = *text;
  if (!options_.raw_links) {
    const std::string where = path_of(dir);
    if (std::optional<std::string> clamped = clamp_link(*text, where, layer.mapping())) {
      log::warn("the link \"{}\" of {} leads out of its volume to \"{}\": shown as \"{}\"", join_path(where, name),
                layer.label(), *text, *clamped);
      shown = content.texts.emplace_front(std::move(*clamped));
    }
  }
  node.link = shown.data();
  node.size = shown.size();
}

std::vector<OverlayConflict> OverlayMerger::conflicts() const {
  const MutexLock lock(mutex_);
  return conflicts_;
}

}  // namespace pkgfs::vfs
