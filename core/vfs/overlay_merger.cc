// SPDX-License-Identifier: MIT
#include "core/vfs/overlay_merger.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <optional>
#include <queue>
#include <string>
#include <utility>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/lost_pages.h"
#include "core/base/printable.h"
#include "core/vfs/large_directory.h"
#include "core/vfs/path_text.h"

namespace pkgfs::vfs {

namespace {

/// A hostile package has findings in millions of directories: the first ones suffice for a diagnosis.
constexpr std::size_t kMostTold = 100;

}  // namespace

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
      if (lost_pages::ever() || !layers_[i].fs->is_intact(candidate.entry.inode)) {
        throw Error(ErrorCode::kIo, layers_[i].label() + ": its root directory can't be read");
      }
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
  content->path = std::make_shared<const OverlayPath>(
      dir.holder == nullptr ? OverlayPath{}
                            : OverlayPath{dir.holder->path, dir.name_view(), dir.holder->path->depth + 1});
  content->bytes = sizeof(OverlayContent) + sizeof(OverlayPath);
  if (content->path->depth > limits::kTreeDepth) {
    content->error = ELOOP;
    return content;
  }
  const OverlayPart only{dir.layer, dir.inode};
  const std::span<const OverlayPart> parts = dir.parts == nullptr ? std::span(&only, 1) : std::span(*dir.parts);
  Findings findings = wanted_findings(content->number);
  std::vector<NamedCandidate> named;
  if (!list(*content, parts, named)) {
    named = std::vector<NamedCandidate>();
    fill_large(*content, parts, findings);
  } else if (content->error == 0) {
    fill(*content, parts.size(), named, findings);
  }
  if (!findings.conflicts.empty() || !findings.warnings.empty()) {
    tell(content->number, std::move(findings));
  }
  content->bytes += content->large != nullptr ? content->large->bytes() : content->count * sizeof(OverlayNode);
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
  // The parts that aren't done, as a heap: the smallest name is on top, of equal names that of the first layer.
  const auto comes_later = [&](std::size_t a, std::size_t b) {
    const int order = sorted[a].entry().name.compare(sorted[b].entry().name);
    return order > 0 || (order == 0 && a > b);
  };
  std::priority_queue<std::size_t, std::vector<std::size_t>, decltype(comes_later)> heap(comes_later);
  const auto push = [&](std::size_t part) {
    if (!sorted[part].done()) {
      heap.push(part);
    }
  };
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    push(i);
  }
  std::vector<Candidate> candidates;
  std::vector<std::size_t> having;  // the parts that have the name
  while (!heap.empty()) {
    candidates.clear();
    having.clear();
    const std::string_view name = sorted[heap.top()].entry().name;
    for (; !heap.empty() && sorted[heap.top()].entry().name == name; heap.pop()) {
      const std::size_t i = heap.top();
      const DirEntry& entry = sorted[i].entry();
      candidates.push_back({parts[i].layer, entry.error, {entry.inode, entry.attributes}});
      having.push_back(i);
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
      push(i);
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
  show_entry(node, layer, winner.layer, content.path.get(), name, winner);
  if (node.error != 0 && winner.error == 0 && lost_pages::ever()) {
    content.error = node.error;  // the text of a link is lost: the listing isn't kept
  }
  node.holder = &content;
  if (findings.wants_conflicts && decision.conflict && !layers_[candidates[decision.hidden].layer].fallback) {
    findings.conflicts.push_back(
        {join_path(content.path->text(), name), layer.label(), layers_[candidates[decision.hidden].layer].label()});
  }
  if (node.error != 0) {
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
  } else if (node.type == FileType::kSymlink && (!options_.raw_links || options_.refuses_escapes)) {
    clamp(node, content, findings);
  }
}

void OverlayMerger::clamp(OverlayNode& node, OverlayContent& content, Findings& findings) const {
  const Layer& layer = layers_[node.layer];
  const std::string_view text(node.link, node.size);
  const Depths& depths = depths_[node.layer];
  const std::size_t depth = content.path->depth;  // below the mount path: only there has a layer links
  if (!text.starts_with('/') && !link_climbs(text, std::min(depth, depth - depths.mount + depths.source))) {
    return;  // as most do: the text of the path, which may be long, isn't needed
  }
  const std::string where = content.path->text();
  std::optional<std::string> clamped = clamp_link(text, where, layer.mapping());
  if (!clamped) {
    return;
  }
  if (options_.refuses_escapes) {
    throw Error(ErrorCode::kCorrupt, "the link \"" + shortened(join_path(where, node.name_view())) + "\" of " +
                                         layer.label() + " leads out of its volume to \"" + shortened(text) + "\"");
  }
  if (findings.wants_warnings && findings.warnings.size() < limits::kRepeatedWarnings) {
    findings.warnings.push_back("the link \"" + shortened(join_path(where, node.name_view())) + "\" of " +
                                layer.label() + " leads out of its volume to \"" + shortened(text) + "\": shown as \"" +
                                shortened(*clamped) + "\"");
  } else {
    ++findings.more;
  }
  const std::string& shown = content.texts.emplace_front(std::move(*clamped));
  node.link = shown.data();
  node.size = shown.size();
}

OverlayMerger::Findings OverlayMerger::wanted_findings(std::uint64_t directory) {
  const MutexLock lock(mutex_);
  const bool is_new = (collects_ || told_.size() < kMostTold) && !told_.contains(directory);
  Findings findings;
  findings.wants_conflicts = collects_ && is_new;
  findings.wants_warnings = is_new;
  return findings;
}

void OverlayMerger::tell(std::uint64_t directory, Findings findings) {
  bool last = false;
  {
    const MutexLock lock(mutex_);
    if (!told_.insert(directory).second) {
      return;
    }
    last = !collects_ && told_.size() == kMostTold;
    std::ranges::move(findings.conflicts, std::back_inserter(conflicts_));
  }
  for (const std::string& warning : findings.warnings) {
    log::warn("{}", warning);
  }
  if (findings.more != 0) {
    log::warn("and {} more links of that directory lead out of their volumes", findings.more);
  }
  if (last && !findings.warnings.empty()) {
    log::warn("links of further directories that lead out of their volumes aren't reported");
  }
}

void OverlayMerger::collect_conflicts() {
  const MutexLock lock(mutex_);
  collects_ = true;
  told_.clear();
}

std::vector<OverlayConflict> OverlayMerger::take_conflicts() {
  const MutexLock lock(mutex_);
  collects_ = false;
  return std::exchange(conflicts_, {});
}

}  // namespace pkgfs::vfs
