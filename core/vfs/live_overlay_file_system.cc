// SPDX-License-Identifier: MIT
#include "core/vfs/live_overlay_file_system.h"

#include <algorithm>
#include <cerrno>
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

// A position in a listing: the listing's generation, and the index below.
constexpr unsigned kGenerationShift = 32;

}  // namespace

LiveOverlayFileSystem::LiveOverlayFileSystem(std::vector<Layer> layers, const OverlayOptions& options,
                                             std::uint64_t host_base)
    : layers_(std::move(layers)), options_(options), nodes_(layers_) {
  if (layers_.size() > limits::kLiveLayers) {
    throw Error(ErrorCode::kUnsupported, "The tree has a live directory and " + std::to_string(layers_.size()) +
                                             " layers; at most " + std::to_string(limits::kLiveLayers) +
                                             " can be laid over each other");
  }
  // The inode numbers of the first live layer's device are shown, moved by `host_base`.
  const auto live = std::ranges::find(layers_, true, &Layer::live);
  const HostNumbers numbers{live == layers_.end() ? 0 : live->fs->device(), host_base};
  for (const Layer& layer : layers_) {
    layer.fs->number_hosts(numbers);
  }
  std::vector<Candidate> candidates;
  for (std::uint32_t i = 0; i < layers_.size(); ++i) {
    const Inode inode = layers_[i].fs->root();
    if (const Result<Attributes> attributes = layers_[i].fs->metadata(inode); attributes) {
      candidates.push_back({i, 0, {inode, *attributes}});
    }
  }
  if (candidates.empty()) {
    return;
  }
  const Decision decision = choose(candidates);
  nodes_.root().winner = decision.winner;
  for (std::size_t i = 0; i < decision.count; ++i) {
    nodes_.root().parts.push_back({candidates[i].layer, candidates[i].entry.inode});
  }
}

LiveOverlayFileSystem::~LiveOverlayFileSystem() = default;

Inode LiveOverlayFileSystem::root() const { return reinterpret_cast<Inode>(&nodes_.root()); }

std::pair<OverlayFileSystem*, Inode> LiveOverlayFileSystem::handed_through(Inode inode) const {
  auto* fs = static_cast<OverlayFileSystem*>(layers_[inode >> kLayerShift].fs.get());
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

std::vector<Candidate> LiveOverlayFileSystem::ask_layers(const LiveNode& dir, std::string_view name) {
  std::vector<Candidate> candidates;
  for (const LiveNode::Part& part : dir.parts) {
    const Result<Entry> found = layers_[part.layer].fs->lookup(part.inode, name);
    if (found) {
      candidates.push_back({part.layer, 0, *found});
    } else if (found.error() != ENOENT && found.error() != ENOTDIR) {
      candidates.push_back({part.layer, found.error(), {}});
    }
  }
  return candidates;
}

Result<Entry> LiveOverlayFileSystem::settle(LiveNode& dir, std::string_view name, std::vector<Candidate>& candidates) {
  const Decision decision = choose(candidates);
  // References of what doesn't take part aren't needed.
  for (std::size_t i = decision.count; i < candidates.size(); ++i) {
    if (candidates[i].error == 0) {
      nodes_.release({candidates[i].layer, candidates[i].entry.inode});
    }
  }
  const Candidate& winner = candidates[decision.winner];
  if (winner.error != 0) {
    return fail(winner.error);
  }
  Entry result{0, winner.entry.attributes};
  result.attributes.live = true;
  result.attributes.number = number(winner);
  for (std::size_t i = 0; i < decision.count; ++i) {
    result.attributes.mount_ancestor |= candidates[i].entry.attributes.mount_ancestor;
  }
  if (decision.count == 1 && !layers_[winner.layer].live) {
    result.inode = hand_through(winner.layer, winner.entry.inode);
    return result;
  }
  if (result.attributes.number == 0) {
    result.attributes.number = path_number(dir.number, name);
  }

  auto fresh = std::make_unique<LiveNode>();
  fresh->parent = &dir;
  fresh->name = name;
  fresh->number = result.attributes.number;
  fresh->generation = winner.entry.generation;
  fresh->type = result.attributes.type;
  fresh->winner = decision.winner;
  fresh->mount_ancestor = result.attributes.mount_ancestor;
  for (std::size_t i = 0; i < decision.count; ++i) {
    fresh->parts.push_back({candidates[i].layer, candidates[i].entry.inode});
  }
  if (fresh->type == FileType::kSymlink) {
    const Layer& layer = layers_[winner.layer];
    const Result<std::string_view> text = layer.fs->read_link(winner.entry.inode);
    if (!text) {
      nodes_.release(fresh->parts.front());
      return fail(text.error());
    }
    std::optional<std::string> clamped;
    if (!options_.raw_links) {
      clamped = clamp_link(*text, path_of(dir), layer.mapping());
    }
    fresh->link = clamped ? std::move(*clamped) : std::string(*text);
    result.attributes.size = fresh->link.size();
  }

  result.inode = reinterpret_cast<Inode>(&nodes_.add(std::move(fresh)));
  return result;
}

Result<Entry> LiveOverlayFileSystem::lookup(Inode dir, std::string_view name) {
  if (is_handed_through(dir)) {
    const auto [fs, inner] = handed_through(dir);
    Result<Entry> entry = fs->lookup(inner, name);
    if (entry) {
      entry->inode = hand_through(static_cast<std::uint32_t>(dir >> kLayerShift), entry->inode);
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
  std::vector<Candidate> candidates = ask_layers(which, name);
  if (candidates.empty()) {
    return fail(ENOENT);
  }
  return settle(which, name, candidates);
}

Result<Attributes> LiveOverlayFileSystem::metadata(Inode inode) {
  if (is_handed_through(inode)) {
    const auto [fs, inner] = handed_through(inode);
    return fs->metadata(inner);
  }
  const LiveNode& which = node_of(inode);
  const LiveNode::Part& part = which.parts[which.winner];
  Result<Attributes> attributes = layers_[part.layer].fs->metadata(part.inode);
  if (attributes) {
    attributes->number = number({part.layer, 0, {part.inode, *attributes}});
    if (attributes->number == 0) {
      attributes->number = which.number;
    }
    attributes->live = true;
    attributes->mount_ancestor = which.mount_ancestor;
    if (which.type == FileType::kSymlink) {
      attributes->size = which.link.size();
    }
  }
  return attributes;
}

std::shared_ptr<const LiveListing> LiveOverlayFileSystem::list(LiveNode& dir, int& error) {
  // Names per layer, then the same rule as for a lookup.
  std::map<std::string, std::vector<Candidate>, std::less<>> names;
  for (const LiveNode::Part& part : dir.parts) {
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
      item.attributes.number = path_number(dir.number, name);
    }
    listing->items.push_back(std::move(item));
  }
  nodes_.keep_listing(dir, listing);
  return listing;
}

Result<void> LiveOverlayFileSystem::read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) {
  if (is_handed_through(dir)) {
    const auto [fs, inner] = handed_through(dir);
    return fs->read_dir(inner, from, [&](const DirEntry& passed) {
      DirEntry entry = passed;
      if (entry.inode != 0) {
        entry.inode = hand_through(static_cast<std::uint32_t>(dir >> kLayerShift), entry.inode);
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
  if (is_handed_through(dir)) {
    const auto [fs, inner] = handed_through(dir);
    return fs->parent_number(inner);
  }
  const LiveNode& which = node_of(dir);
  return which.parent == nullptr ? kRootNumber : which.parent->number;
}

Result<std::string_view> LiveOverlayFileSystem::read_link(Inode inode) {
  if (is_handed_through(inode)) {
    const auto [fs, inner] = handed_through(inode);
    return fs->read_link(inner);
  }
  const LiveNode& which = node_of(inode);
  return which.type == FileType::kSymlink ? Result<std::string_view>(which.link) : fail(EINVAL);
}

Result<std::unique_ptr<OpenFile>> LiveOverlayFileSystem::open(Inode inode) {
  if (is_handed_through(inode)) {
    const auto [fs, inner] = handed_through(inode);
    return fs->open(inner);
  }
  const LiveNode& which = node_of(inode);
  if (which.type == FileType::kDirectory) {
    return fail(EISDIR);
  }
  return layers_[which.parts.front().layer].fs->open(which.parts.front().inode);
}

Result<Extent> LiveOverlayFileSystem::extent(Inode inode) {
  if (is_handed_through(inode)) {
    const auto [fs, inner] = handed_through(inode);
    return fs->extent(inner);
  }
  return fail(EINVAL);
}

bool LiveOverlayFileSystem::is_intact(Inode inode) {
  if (is_handed_through(inode)) {
    const auto [fs, inner] = handed_through(inode);
    return fs->is_intact(inner);
  }
  return std::ranges::all_of(layers_, [](const Layer& layer) { return layer.fs->is_intact(layer.fs->root()); });
}

Result<Origin> LiveOverlayFileSystem::origin(Inode inode) {
  if (is_handed_through(inode)) {
    const auto [fs, inner] = handed_through(inode);
    return fs->origin(inner);
  }
  const LiveNode& which = node_of(inode);
  const LiveNode::Part& part = which.parts[which.winner];
  const Layer& layer = layers_[part.layer];
  Result<Origin> origin = layer.fs->origin(part.inode);
  if (origin && layers_[part.layer].live) {
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
  if (!is_handed_through(inode) && inode != root()) {
    nodes_.forget(node_of(inode), count);
  }
}

std::vector<OverlayConflict> LiveOverlayFileSystem::find_conflicts() {
  std::vector<OverlayConflict> conflicts;
  for (const Layer& layer : layers_) {
    if (!layer.live) {
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
