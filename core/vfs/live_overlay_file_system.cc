// SPDX-License-Identifier: MIT
#include "core/vfs/live_overlay_file_system.h"

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <optional>
#include <utility>

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/vfs/walk.h"

namespace pkgfs::vfs {
namespace {

// A handed-through inode: bit 0 set, the layer above bit 48, the layer's own inode (an aligned address) between.
constexpr unsigned kLayerShift = 48;
constexpr unsigned kInodeBits = 62;
static_assert(limits::kLiveLayers <= std::size_t{1} << (kInodeBits - kLayerShift));
constexpr Inode kAddressMask = (Inode{1} << kLayerShift) - 1;

std::uint32_t layer_of(Inode handed_through) { return static_cast<std::uint32_t>(handed_through >> kLayerShift); }

// A position in a listing: the listing's generation, and the index below.
constexpr unsigned kGenerationShift = 32;

/// Where the numbers of trees that replace another begin. Those of the first tree are less, and so are those of the
/// host's entries (docs/rules/filesystem.md, 9.6).
constexpr std::uint64_t kFirstLater = std::uint64_t{1} << 48U;

}  // namespace

LiveOverlayFileSystem::LiveOverlayFileSystem(std::vector<Layer> layers, const OverlayOptions& options,
                                             std::uint64_t host_base)
    : layers_(std::move(layers), options.replaceable),
      options_(options),
      nodes_(layers_),
      shown_(layers_.initial()),
      next_number_(std::max(host_base, kFirstLater)) {
  std::iota(shown_.begin(), shown_.end(), 0U);
  // The inode numbers of the first live layer's device are shown, moved by `host_base`.
  const auto live = std::ranges::find_if(shown_, [this](std::uint32_t layer) { return layers_[layer].live; });
  host_numbers_ = {live == shown_.end() ? 0 : layers_[*live].fs->device(), host_base};
  for (const std::uint32_t layer : shown_) {
    layers_[layer].fs->number_hosts(host_numbers_);
  }
  nodes_.root().first = root_content(shown_);
}

LiveOverlayFileSystem::~LiveOverlayFileSystem() = default;

Inode LiveOverlayFileSystem::root() const { return reinterpret_cast<Inode>(&nodes_.root()); }

std::pair<OverlayFileSystem*, Inode> LiveOverlayFileSystem::handed_through(Inode inode) const {
  auto* fs = static_cast<OverlayFileSystem*>(layers_[layer_of(inode)].fs.get());
  return {fs, inode & kAddressMask & ~Inode{1}};
}

Inode LiveOverlayFileSystem::hand_through(std::uint32_t layer, Inode inode) {
  return (Inode{layer} << kLayerShift) | inode | 1U;
}

std::uint64_t LiveOverlayFileSystem::number(const Candidate& from) const {
  const Layer& layer = layers_[from.layer];
  const Attributes& attributes = from.entry.attributes;
  return attributes.number == 0 || attributes.live ? attributes.number : layer.number_base + attributes.number;
}

Decision LiveOverlayFileSystem::choose(std::vector<Candidate>& candidates) const {
  return decide(candidates, options_.conflicts,
                [this](std::uint32_t layer) { return layers_[layer].mount_path.size(); });
}

std::vector<Candidate> LiveOverlayFileSystem::ask_layers(const LiveContent& dir, std::string_view name) {
  std::vector<Candidate> candidates;
  for (const LiveContent::Part& part : dir.parts) {
    const Result<Entry> found = layers_[part.layer].fs->lookup(part.inode, name);
    if (found) {
      candidates.push_back({part.layer, 0, *found});
    } else if (found.error() != ENOENT && found.error() != ENOTDIR) {
      candidates.push_back({part.layer, found.error(), {}});
    }
  }
  return candidates;
}

Result<LiveOverlayFileSystem::Settled> LiveOverlayFileSystem::settle(LiveNode& dir, const LiveContent& content,
                                                                     std::string_view name,
                                                                     std::vector<Candidate>& candidates) {
  const Decision decision = choose(candidates);
  // References of what doesn't take part aren't needed.
  for (std::size_t i = decision.count; i < candidates.size(); ++i) {
    const Layer& layer = layers_[candidates[i].layer];
    if (candidates[i].error == 0 && layer.live) {
      layer.fs->forget(candidates[i].entry.inode, 1);
    }
  }
  const Candidate& winner = candidates[decision.winner];
  if (winner.error != 0) {
    return fail(winner.error);
  }
  Settled result{{0, winner.entry.attributes}, nullptr};
  Attributes& attributes = result.entry.attributes;
  attributes.live = true;
  attributes.number = number(winner);
  for (std::size_t i = 0; i < decision.count; ++i) {
    attributes.mount_ancestor |= candidates[i].entry.attributes.mount_ancestor;
  }
  if (decision.count == 1 && !layers_[winner.layer].live) {
    layers_.add_user(winner.layer);
    result.entry.inode = hand_through(winner.layer, winner.entry.inode);
    return result;
  }
  if (attributes.number == 0) {
    attributes.number = path_number(content.number, name);
  }

  auto fresh = std::make_unique<LiveNode>();
  fresh->parent = &dir;
  fresh->name = name;
  fresh->type = attributes.type;
  fresh->first.number = attributes.number;
  fresh->first.generation = winner.entry.generation;
  fresh->first.winner = decision.winner;
  fresh->first.mount_ancestor = attributes.mount_ancestor;
  for (std::size_t i = 0; i < decision.count; ++i) {
    fresh->first.parts.push_back(take_part(candidates[i]));
  }
  if (fresh->type == FileType::kSymlink) {
    const Layer& layer = layers_[winner.layer];
    const Result<std::string_view> text = layer.fs->read_link(winner.entry.inode);
    if (!text) {
      nodes_.release(fresh->first.parts);
      return fail(text.error());
    }
    std::optional<std::string> clamped;
    if (!options_.raw_links) {
      clamped = clamp_link(*text, path_of(dir), layer.mapping());
    }
    fresh->link = clamped ? std::move(*clamped) : std::string(*text);
    attributes.size = fresh->link.size();
  }
  result.node = std::move(fresh);
  return result;
}

Result<Entry> LiveOverlayFileSystem::lookup(Inode dir, std::string_view name) {
  const auto use = layers_.use();
  if (is_handed_through(dir)) {
    const auto [fs, inner] = handed_through(dir);
    const auto layer = layer_of(dir);
    Result<Entry> entry = fs->lookup(inner, name);
    if (entry && !layers_.try_add_user(layer)) {
      return fail(ENOENT);  // the kernel has forgotten the directory, and takes no reply
    }
    if (entry) {
      entry->inode = hand_through(layer, entry->inode);
    }
    return entry;
  }
  if (name.size() > limits::kNameBytes) {
    return fail(ENAMETOOLONG);
  }
  LiveNode& which = node_of(dir);
  if (which.type != FileType::kDirectory) {
    return fail(ENOTDIR);
  }
  while (true) {
    const LiveContent& content = which.content();
    std::vector<Candidate> candidates = ask_layers(content, name);
    if (candidates.empty()) {
      return fail(ENOENT);
    }
    Result<Settled> found = settle(which, content, name, candidates);
    if (!found) {
      return fail(found.error());
    }
    if (found->node == nullptr) {
      return found->entry;
    }
    if (const LiveNode* const node = nodes_.add(std::move(found->node), content); node != nullptr) {
      return Entry{inode_of(*node), found->entry.attributes};
    }
  }
}

Result<Attributes> LiveOverlayFileSystem::metadata(Inode inode) {
  const auto use = layers_.use();
  if (is_handed_through(inode)) {
    const auto [fs, inner] = handed_through(inode);
    return fs->metadata(inner);
  }
  const LiveNode& which = node_of(inode);
  const LiveContent& content = which.content();
  const LiveContent::Part& part = content.parts[content.winner];
  Result<Attributes> attributes = layers_[part.layer].fs->metadata(part.inode);
  if (attributes) {
    attributes->number = number({part.layer, 0, {part.inode, *attributes}});
    if (attributes->number == 0) {
      attributes->number = content.number;
    }
    attributes->live = true;
    attributes->mount_ancestor = content.mount_ancestor;
    if (which.type == FileType::kSymlink) {
      attributes->size = which.link.size();
    }
  }
  return attributes;
}

std::shared_ptr<const LiveListing> LiveOverlayFileSystem::list(LiveNode& dir, int& error) {
  // Names per layer, then the same rule as for a lookup.
  std::map<std::string, std::vector<Candidate>, std::less<>> names;
  const LiveContent& content = dir.content();
  for (const LiveContent::Part& part : content.parts) {
    const Result<void> listed = layers_[part.layer].fs->read_dir(part.inode, 0, [&](const DirEntry& entry) {
      names[std::string(entry.name)].push_back({part.layer, entry.error, {entry.inode, entry.attributes}});
      return true;
    });
    if (!listed) {
      error = listed.error();
      return nullptr;
    }
  }
  auto listing = std::make_shared<LiveListing>();
  for (auto& [name, candidates] : names) {
    const Decision decision = choose(candidates);
    const Candidate& winner = candidates[decision.winner];
    if (conflicts_ != nullptr && decision.conflict && !layers_[candidates[decision.hidden].layer].fallback) {
      conflicts_->push_back({join_path(path_of(dir), name), layers_[winner.layer].label(),
                             layers_[candidates[decision.hidden].layer].label()});
    }
    LiveListing::Item item{name, winner.error, winner.entry.attributes};
    item.attributes.number = number(winner);
    if (item.attributes.number == 0) {
      item.attributes.number = path_number(content.number, name);
    }
    listing->items.push_back(std::move(item));
  }
  nodes_.keep_listing(dir, listing);
  return listing;
}

Result<void> LiveOverlayFileSystem::read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) {
  const auto use = layers_.use();
  if (is_handed_through(dir)) {
    const auto [fs, inner] = handed_through(dir);
    return fs->read_dir(inner, from, [&](const DirEntry& passed) {
      DirEntry entry = passed;
      if (layers_.are_replaceable()) {
        entry.inode = 0;  // it would have no reference
      } else if (entry.inode != 0) {
        entry.inode = hand_through(layer_of(dir), entry.inode);
      }
      return visit(entry);
    });
  }
  LiveNode& which = node_of(dir);
  if (which.type != FileType::kDirectory) {
    return fail(ENOTDIR);
  }
  // A reader that continues gets the listing that it began with, as long as that is kept.
  std::shared_ptr<const LiveListing> listing;
  if (from != 0) {
    listing = nodes_.find_listing(which, from >> kGenerationShift);
  }
  if (listing == nullptr) {
    int error = 0;
    listing = list(which, error);
    if (listing == nullptr) {
      return fail(error);
    }
  }
  for (std::size_t i = from & 0xffffffffU; i < listing->items.size(); ++i) {
    const LiveListing::Item& item = listing->items[i];
    if (!visit({.name = item.name,
                .inode = 0,
                .error = item.error,
                .next = ((listing->generation & 0x3fffffffU) << kGenerationShift) | (i + 1),
                .attributes = item.attributes})) {
      break;
    }
  }
  return {};
}

Result<std::uint64_t> LiveOverlayFileSystem::parent_number(Inode dir) {
  const auto use = layers_.use();
  if (is_handed_through(dir)) {
    const auto [fs, inner] = handed_through(dir);
    return fs->parent_number(inner);
  }
  const LiveNode& which = node_of(dir);
  return which.parent == nullptr ? kRootNumber : which.parent->content().number;
}

Result<std::string_view> LiveOverlayFileSystem::read_link(Inode inode) {
  const auto use = layers_.use();
  if (is_handed_through(inode)) {
    const auto [fs, inner] = handed_through(inode);
    return fs->read_link(inner);
  }
  const LiveNode& which = node_of(inode);
  return which.type == FileType::kSymlink ? Result<std::string_view>(which.link) : fail(EINVAL);
}

Result<std::unique_ptr<OpenFile>> LiveOverlayFileSystem::open(Inode inode) {
  const auto use = layers_.use();
  if (is_handed_through(inode)) {
    const auto [fs, inner] = handed_through(inode);
    return fs->open(inner);
  }
  const LiveNode& which = node_of(inode);
  if (which.type == FileType::kDirectory) {
    return fail(EISDIR);
  }
  const LiveContent::Part& part = which.content().parts.front();
  return layers_[part.layer].fs->open(part.inode);
}

Result<Extent> LiveOverlayFileSystem::extent(Inode inode) {
  const auto use = layers_.use();
  if (is_handed_through(inode)) {
    const auto [fs, inner] = handed_through(inode);
    return fs->extent(inner);
  }
  return fail(EINVAL);
}

bool LiveOverlayFileSystem::is_intact(Inode inode) {
  const auto use = layers_.use();
  if (is_handed_through(inode)) {
    const auto [fs, inner] = handed_through(inode);
    return fs->is_intact(inner);
  }
  return std::ranges::all_of(nodes_.root().content().parts, [this](const LiveContent::Part& part) {
    return layers_[part.layer].fs->is_intact(part.inode);
  });
}

Result<Origin> LiveOverlayFileSystem::origin(Inode inode) {
  const auto use = layers_.use();
  if (is_handed_through(inode)) {
    const auto [fs, inner] = handed_through(inode);
    return fs->origin(inner);
  }
  const LiveNode& which = node_of(inode);
  const LiveContent& content = which.content();
  const LiveContent::Part& part = content.parts[content.winner];
  const Layer& layer = layers_[part.layer];
  Result<Origin> origin = layer.fs->origin(part.inode);
  if (origin && layer.live) {
    origin->package = layer.package.text();
    origin->volume = layer.volume;
    std::string path = layer.source_path;
    for (const std::string_view name : path_components(path_below(layer.mount_path, path_of(which)))) {
      path = join_path(path, name);
    }
    origin->path = std::move(path);
  }
  return origin;
}

void LiveOverlayFileSystem::forget(Inode inode, std::uint64_t count) {
  if (is_handed_through(inode)) {
    layers_.drop_users(layer_of(inode), count);
  } else if (inode != root()) {
    nodes_.forget(node_of(inode), count);
  }
}

std::vector<OverlayConflict> LiveOverlayFileSystem::find_conflicts() {
  std::vector<OverlayConflict> conflicts;
  for (const std::uint32_t number : shown_) {
    if (const Layer& layer = layers_[number]; !layer.live) {
      const auto inside = static_cast<OverlayFileSystem*>(layer.fs.get())->visit_all();
      conflicts.insert(conflicts.end(), inside.begin(), inside.end());
    }
  }
  conflicts_ = &conflicts;
  for (TreeWalk walk(*this, root(), {.directories_only = true}); walk.next();) {
    const WalkStep& step = walk.step();
    if (step.leaving && step.error != 0) {
      log::warn("{}: this directory can't be listed", step.path.empty() ? "/" : step.path);
    } else if (is_handed_through(step.inode)) {
      walk.skip();
    }
  }
  conflicts_ = nullptr;
  return conflicts;
}

}  // namespace pkgfs::vfs
