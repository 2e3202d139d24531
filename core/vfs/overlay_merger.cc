// SPDX-License-Identifier: MIT
#include "core/vfs/overlay_merger.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "core/base/log.h"
#include "core/vfs/large_directory.h"
#include "core/vfs/path_text.h"

namespace pkgfs::vfs {

/// A name of one layer's directory.
struct OverlayMerger::NamedCandidate {
  std::string_view name;
  Candidate candidate;
};

void OverlayMerger::make_root(OverlayNode& root, OverlayContent& top) {
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
  Findings unused;  // that a root hides another layer's is the rule, and no finding
  fill_node(root, top, {}, candidates, unused);
  root.holder = nullptr;
  root.number = kRootNumber;
}

std::unique_ptr<OverlayContent> OverlayMerger::merge(const OverlayNode& dir, Inode inode) {
  auto content = std::make_unique<OverlayContent>();
  content->directory = inode;
  content->number = dir.number;
  content->path = dir.holder == nullptr ? "/" : join_path(dir.holder->path, dir.name_view());
  const OverlayPart only{dir.layer, dir.inode};
  const std::span<const OverlayPart> parts = dir.parts == nullptr ? std::span(&only, 1) : std::span(*dir.parts);
  Findings findings;
  std::vector<NamedCandidate> named;
  if (!list(*content, parts, named)) {
    named = {};
    fill_large(*content, parts, findings);
  } else if (content->error == 0) {
    fill(*content, parts.size(), named, findings);
  }
  if (!findings.conflicts.empty() || !findings.warnings.empty()) {
    tell(content->number, std::move(findings));
  }
  content->bytes = sizeof(OverlayContent) + content->path.capacity() +
                   (content->large != nullptr ? content->large->bytes() : content->count * sizeof(OverlayNode));
  for (const std::vector<OverlayPart>& list : content->parts) {
    content->bytes += sizeof(std::vector<OverlayPart>) + list.capacity() * sizeof(OverlayPart);
  }
  for (const std::string& text : content->texts) {
    content->bytes += sizeof(std::string) + text.capacity();
  }
  return content;
}

bool OverlayMerger::list(OverlayContent& content, std::span<const OverlayPart> parts,
                         std::vector<NamedCandidate>& named) const {
  for (const OverlayPart& part : parts) {
    const auto take = [&](std::uint64_t /*position*/, const DirEntry& entry) {
      named.push_back({entry.name, {part.layer, entry.error, {entry.inode, entry.attributes}}});
      return !large_ || named.size() <= LargeDirectory::kEntries;
    };
    if (const Result<void> listed = layers_[part.layer].fs->list_stored(part.inode, 0, take); !listed) {
      content.error = listed.error();
    }
    if (large_ && named.size() > LargeDirectory::kEntries) {
      content.error = 0;
      return false;
    }
  }
  return true;
}

void OverlayMerger::fill(OverlayContent& content, std::size_t parts, std::vector<NamedCandidate>& named,
                         Findings& findings) const {
  // A layer mostly stores its names sorted. A stable sort keeps the layers of one name in their order.
  const auto by_name = [](const NamedCandidate& a, const NamedCandidate& b) { return a.name < b.name; };
  if (parts != 1 || !std::is_sorted(named.begin(), named.end(), by_name)) {
    std::stable_sort(named.begin(), named.end(), by_name);
  }
  std::size_t names = 0;
  for (std::size_t i = 0; i < named.size(); ++i) {
    names += i == 0 || named[i].name != named[i - 1].name ? 1 : 0;
  }
  content.nodes = std::make_unique<OverlayNode[]>(names);
  std::vector<Candidate> candidates;
  for (auto it = named.begin(); it != named.end();) {
    const std::string_view name = it->name;
    candidates.clear();
    for (; it != named.end() && it->name == name; ++it) {
      candidates.push_back(it->candidate);
    }
    fill_node(content.nodes[content.count++], content, name, candidates, findings);
  }
}

void OverlayMerger::fill_large(OverlayContent& content, std::span<const OverlayPart> parts, Findings& findings) const {
  auto large = std::make_unique<LargeDirectory>(layers_, std::vector<OverlayPart>(parts.begin(), parts.end()));
  std::vector<SortedPart> sorted;
  sorted.reserve(parts.size());
  for (const OverlayPart& part : parts) {
    sorted.emplace_back(*layers_[part.layer].fs, part);
  }
  std::vector<Candidate> candidates;
  std::vector<std::size_t> having;  // the parts that have the name
  while (true) {
    candidates.clear();
    having.clear();
    std::string_view name;
    for (std::size_t i = 0; i < sorted.size(); ++i) {
      if (sorted[i].done()) {
        continue;
      }
      const DirEntry& entry = sorted[i].entry();
      if (!having.empty() && name < entry.name) {
        continue;
      }
      if (having.empty() || entry.name < name) {
        name = entry.name;
        candidates.clear();
        having.clear();
      }
      candidates.push_back({parts[i].layer, entry.error, {entry.inode, entry.attributes}});
      having.push_back(i);
    }
    if (having.empty()) {
      break;
    }
    bool own_node = having.size() > 1;
    if (own_node || candidates.front().entry.attributes.type == FileType::kSymlink) {
      const auto texts = content.texts.begin();
      OverlayNode node;
      fill_node(node, content, name, candidates, findings);
      own_node |= texts != content.texts.begin();  // the text was rewritten
      if (own_node) {
        large->add(node);
      }
    }
    if (!own_node) {
      const SortedPart& part = sorted[having.front()];
      large->add(having.front(), name, part.position(), part.next());
    }
    for (const std::size_t i : having) {
      sorted[i].advance();
    }
  }
  for (const SortedPart& part : sorted) {
    content.error = part.error() != 0 ? part.error() : content.error;
  }
  if (content.error == 0) {
    large->finish(content);
    content.count = large->count();
    content.large = std::move(large);
  }
}

void OverlayMerger::fill_node(OverlayNode& node, OverlayContent& content, std::string_view name,
                              std::vector<Candidate>& candidates, Findings& findings) const {
  const Decision decision =
      decide(candidates, options_.conflicts, [this](std::uint32_t layer) { return layers_[layer].mount_path.size(); });
  const Candidate& winner = candidates[decision.winner];
  const Layer& layer = layers_[winner.layer];
  show_entry(node, layer, winner.layer, name, winner);
  node.holder = &content;
  if (decision.conflict && !layers_[candidates[decision.hidden].layer].fallback) {
    findings.conflicts.push_back(
        {join_path(content.path, name), layer.label(), layers_[candidates[decision.hidden].layer].label()});
  }
  if (winner.error != 0) {
    return;
  }
  if (node.type == FileType::kDirectory) {
    for (std::size_t i = 0; i < decision.count; ++i) {
      node.mount_ancestor |= candidates[i].entry.attributes.mount_ancestor;
    }
    if (decision.count > 1) {
      std::vector<OverlayPart>& parts = content.parts.emplace_front();
      parts.reserve(decision.count);
      for (std::size_t i = 0; i < decision.count; ++i) {
        parts.push_back({candidates[i].layer, candidates[i].entry.inode});
      }
      node.parts = &parts;
    }
  } else if (node.type == FileType::kSymlink) {
    fill_link(node, content, name, findings);
  }
}

void OverlayMerger::fill_link(OverlayNode& node, OverlayContent& content, std::string_view name,
                              Findings& findings) const {
  const Layer& layer = layers_[node.layer];
  const Result<std::string_view> text = layer.fs->read_link(node.inode);
  if (!text) {
    node.error = text.error();
    return;
  }
  std::string_view shown = *text;
  if (!options_.raw_links) {
    if (std::optional<std::string> clamped = clamp_link(*text, content.path, layer.mapping())) {
      findings.warnings.push_back("the link \"" + join_path(content.path, name) + "\" of " + layer.label() +
                                  " leads out of its volume to \"" + std::string(*text) + "\": shown as \"" + *clamped +
                                  "\"");
      shown = content.texts.emplace_front(std::move(*clamped));
    }
  }
  node.link = shown.data();
  node.size = shown.size();
}

void OverlayMerger::tell(std::uint64_t directory, Findings findings) {
  constexpr std::size_t kMostTold = 10'000;  // a hostile package has findings in millions of directories
  const MutexLock lock(mutex_);
  if (!collects_ && (findings.warnings.empty() || told_.size() >= kMostTold)) {
    return;
  }
  if (!told_.insert(directory).second) {
    return;
  }
  for (const std::string& warning : findings.warnings) {
    log::warn("{}", warning);
  }
  if (collects_) {
    std::ranges::move(findings.conflicts, std::back_inserter(conflicts_));
  }
}

void OverlayMerger::collect_conflicts() {
  const MutexLock lock(mutex_);
  collects_ = true;
  told_.clear();
}

std::vector<OverlayConflict> OverlayMerger::conflicts() const {
  const MutexLock lock(mutex_);
  return conflicts_;
}

}  // namespace pkgfs::vfs
