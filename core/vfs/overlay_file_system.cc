// SPDX-License-Identifier: MIT
#include "core/vfs/overlay_file_system.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/vfs/walk.h"

namespace pkgfs::vfs {

/// One layer's share of a directory.
struct Part {
  std::uint32_t layer = 0;
  Inode inode = 0;
};

/// A name of one layer's directory, on its way into the merged one.
struct NamedCandidate {
  std::string_view name;
  Candidate candidate;
};

struct OverlayFileSystem::Node {
  const char* name = nullptr;
  const Directory* holder = nullptr;  // the directory that has this entry; null for the root
  union {
    Directory* directory;  // of a directory
    const char* link;      // of a link: the text, `size` bytes
  };
  Inode inode = 0;  // in its layer
  std::uint64_t size = 0;
  std::uint64_t number = 0;
  std::int64_t modified = 1;
  std::uint32_t modified_ns = 0;
  std::uint32_t layer = 0;
  int error = 0;  // not 0: what touching the entry answers
  std::uint16_t mode = 0;
  std::uint8_t name_length = 0;
  FileType type : 4 = FileType::kFile;
  bool synthetic : 1 = false;
  bool mount_ancestor : 1 = false;

  Node() : directory(nullptr) {}
  [[nodiscard]] std::string_view name_view() const { return {name, name_length}; }
};

struct OverlayFileSystem::Directory {
  const Node* self = nullptr;
  Part first;  // most directories have one part
  std::vector<Part> more = {};
  std::atomic<const Content*> content{nullptr};
};

struct OverlayFileSystem::Content {
  int error = 0;  // the directory can't be listed
  std::size_t count = 0;
  std::unique_ptr<Node[]> nodes;
  std::deque<Directory> directories;  // of the nodes that are directories
  std::deque<std::string> texts;      // link texts that had to be rewritten
};

namespace {

template <typename Node>
const Node& to_node(Inode inode) {
  return *reinterpret_cast<const Node*>(inode);  // NOLINT(performance-no-int-to-ptr)
}

template <typename Node>
Inode to_inode(const Node& node) {
  return reinterpret_cast<Inode>(&node);
}

}  // namespace

OverlayFileSystem::OverlayFileSystem(std::vector<Layer> layers, const OverlayOptions& options)
    : layers_(std::move(layers)),
      options_(options),
      root_(std::make_unique<Node>()),
      root_directory_(std::make_unique<Directory>()) {
  std::vector<Candidate> candidates;
  for (std::uint32_t i = 0; i < layers_.size(); ++i) {
    Candidate candidate{.layer = i, .error = 0, .entry = {layers_[i].fs->root(), {}}};
    const Result<Attributes> root = layers_[i].fs->metadata(candidate.entry.inode);
    if (root) {
      candidate.entry.attributes = *root;
    } else {
      candidate.error = root.error();
    }
    candidates.push_back(candidate);
  }
  Content unused;
  fill_node(*root_, unused, *root_directory_, {}, candidates);
  root_->holder = nullptr;
  root_->number = kRootNumber;
  if (root_->type == FileType::kDirectory && !unused.directories.empty()) {
    root_directory_->first = unused.directories.front().first;
    root_directory_->more = std::move(unused.directories.front().more);
  }
  root_directory_->self = root_.get();
  root_->directory = root_directory_.get();
}

OverlayFileSystem::~OverlayFileSystem() = default;

Inode OverlayFileSystem::root() const { return to_inode(*root_); }

Attributes OverlayFileSystem::attributes(const Node& node) {
  return {.type = node.type,
          .mode = node.mode,
          .modified_ns = node.modified_ns,
          .modified = node.modified,
          .size = node.size,
          .number = node.number,
          .links = 1,
          .synthetic = node.synthetic,
          .mount_ancestor = node.mount_ancestor,
          .live = false};
}

Result<const OverlayFileSystem::Content*> OverlayFileSystem::content(const Node& node) {
  if (node.error != 0) {
    return fail(node.error);
  }
  if (node.type != FileType::kDirectory) {
    return fail(ENOTDIR);
  }
  const Content* content = node.directory->content.load(std::memory_order_acquire);
  if (content == nullptr) {
    content = merge(*node.directory);
  }
  if (content->error != 0) {
    return fail(content->error);
  }
  return content;
}

const OverlayFileSystem::Content* OverlayFileSystem::merge(Directory& dir) {
  const std::lock_guard lock(merge_locks_[(reinterpret_cast<std::uintptr_t>(&dir) / sizeof(Directory)) % kMergeLocks]);
  if (const Content* done = dir.content.load(std::memory_order_acquire); done != nullptr) {
    return done;
  }
  auto content = std::make_unique<Content>();
  std::vector<NamedCandidate> named;
  const auto collect = [&](const Part& part) {
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
  const Content* result = content.get();
  {
    const std::lock_guard owned(owned_mutex_);
    owned_.push_back(std::move(content));
  }
  dir.content.store(result, std::memory_order_release);
  return result;
}

void OverlayFileSystem::fill(Content& content, Directory& dir, std::vector<NamedCandidate>& named) {
  // Each part comes sorted; a stable sort of the runs keeps the layers of one name in their order.
  const auto by_name = [](const NamedCandidate& a, const NamedCandidate& b) { return a.name < b.name; };
  if (!dir.more.empty()) {
    std::stable_sort(named.begin(), named.end(), by_name);
  }
  std::size_t names = 0;
  for (std::size_t i = 0; i < named.size(); ++i) {
    names += i == 0 || named[i].name != named[i - 1].name ? 1 : 0;
  }
  content.nodes = std::make_unique<Node[]>(names);
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

void OverlayFileSystem::fill_node(Node& node, Content& content, const Directory& dir, std::string_view name,
                                  std::vector<Candidate>& candidates) {
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
  node.number = dir.self == nullptr ? kRootNumber : path_number(dir.self->number, name);
  if (decision.conflict && !layers_[candidates[decision.hidden].layer].fallback) {
    const std::lock_guard lock(owned_mutex_);
    conflicts_.push_back({dir.self == nullptr ? "/" : join_path(directory_path(dir), name),
                          layers_[winner.layer].label(), layers_[candidates[decision.hidden].layer].label()});
  }
  if (winner.error != 0) {
    return;
  }
  if (node.type == FileType::kDirectory) {
    Directory& child = content.directories.emplace_back();
    child.self = &node;
    for (std::size_t i = 0; i < decision.count; ++i) {
      const Part part{candidates[i].layer, candidates[i].entry.inode};
      node.mount_ancestor |= candidates[i].entry.attributes.mount_ancestor;
      if (i == 0) {
        child.first = part;
      } else {
        child.more.push_back(part);
      }
    }
    node.directory = &child;
  } else if (node.type == FileType::kSymlink) {
    const Layer& layer = layers_[winner.layer];
    const Result<std::string_view> text = layer.fs->read_link(winner.entry.inode);
    if (!text) {
      node.error = text.error();
      return;
    }
    std::string_view shown = *text;
    if (!options_.raw_links) {
      const std::string where = directory_path(dir);
      if (std::optional<std::string> clamped = clamp_link(*text, where, layer.mapping())) {
        log::warn("the link \"{}\" of {} leads out of its volume to \"{}\": shown as \"{}\"", join_path(where, name),
                  layer.label(), *text, *clamped);
        shown = content.texts.emplace_back(std::move(*clamped));
      }
    }
    node.link = shown.data();
    node.size = shown.size();
  }
}

Result<Entry> OverlayFileSystem::lookup(Inode dir, std::string_view name) {
  if (name.size() > limits::kNameBytes) {
    return fail(ENAMETOOLONG);
  }
  const Result<const Content*> found = content(to_node<Node>(dir));
  if (!found) {
    return fail(found.error());
  }
  const Node* const first = (*found)->nodes.get();
  const Node* const last = first + (*found)->count;
  const Node* const node = std::lower_bound(
      first, last, name, [](const Node& a, std::string_view wanted) { return a.name_view() < wanted; });
  if (node == last || node->name_view() != name) {
    return fail(ENOENT);
  }
  if (node->error != 0) {
    return fail(node->error);
  }
  return Entry{to_inode(*node), attributes(*node)};
}

Result<Attributes> OverlayFileSystem::metadata(Inode inode) {
  const Node& node = to_node<Node>(inode);
  if (node.error != 0) {
    return fail(node.error);
  }
  return attributes(node);
}

Result<void> OverlayFileSystem::read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) {
  const Result<const Content*> found = content(to_node<Node>(dir));
  if (!found) {
    return fail(found.error());
  }
  for (std::size_t i = from; i < (*found)->count; ++i) {
    const Node& node = (*found)->nodes[i];
    if (!visit({.name = node.name_view(),
                .inode = node.error == 0 ? to_inode(node) : 0,
                .error = node.error,
                .next = i + 1,
                .attributes = attributes(node)})) {
      break;
    }
  }
  return {};
}

Result<std::uint64_t> OverlayFileSystem::parent_number(Inode dir) {
  const Node& node = to_node<Node>(dir);
  return node.holder == nullptr ? kRootNumber : node.holder->self->number;
}

Result<std::string_view> OverlayFileSystem::read_link(Inode inode) {
  const Node& node = to_node<Node>(inode);
  if (node.error != 0 || node.type != FileType::kSymlink) {
    return fail(node.error != 0 ? node.error : EINVAL);
  }
  return std::string_view(node.link, node.size);
}

Result<std::unique_ptr<OpenFile>> OverlayFileSystem::open(Inode inode) {
  const Node& node = to_node<Node>(inode);
  if (node.error != 0 || node.type == FileType::kDirectory) {
    return fail(node.error != 0 ? node.error : EISDIR);
  }
  return layers_[node.layer].fs->open(node.inode);
}

Result<Extent> OverlayFileSystem::extent(Inode inode) {
  const Node& node = to_node<Node>(inode);
  if (node.error != 0 || node.type == FileType::kDirectory) {
    return fail(node.error != 0 ? node.error : EISDIR);
  }
  return layers_[node.layer].fs->extent(node.inode);
}

Result<Place> OverlayFileSystem::place(Inode inode) {
  const Node& node = to_node<Node>(inode);
  if (node.holder == nullptr) {
    return fail(EINVAL);
  }
  const Content* const content = node.holder->content.load(std::memory_order_acquire);
  return Place{to_inode(*node.holder->self), static_cast<std::uint64_t>(&node - content->nodes.get()) + 1};
}

bool OverlayFileSystem::is_immutable() const {
  return std::ranges::all_of(layers_, [](const Layer& layer) { return layer.fs->is_immutable(); });
}

Result<Origin> OverlayFileSystem::origin(Inode inode) {
  const Node& node = to_node<Node>(inode);
  if (node.error != 0 || node.synthetic) {
    return fail(node.error != 0 ? node.error : ENODATA);
  }
  const Layer& layer = layers_[node.layer];
  Result<Origin> origin = layer.fs->origin(node.inode);
  if (!origin) {
    return origin;
  }
  if (origin->package.empty()) {
    origin->package = layer.package.text();
  }
  origin->volume = layer.volume;
  const std::vector<std::string_view> source = path_components(layer.source_path);
  std::string path = absolute_path(source);
  const std::string visible = path_of(inode);
  for (const std::string_view name : path_components(path_below(layer.mount_path, visible))) {
    path = join_path(path, name);
  }
  origin->path = std::move(path);
  return origin;
}

std::string OverlayFileSystem::path_of(Inode inode) const {
  const Node& node = to_node<Node>(inode);
  return node.holder == nullptr ? "/" : join_path(directory_path(*node.holder), node.name_view());
}

std::string OverlayFileSystem::directory_path(const Directory& dir) const {
  std::vector<std::string_view> names;
  for (const Directory* here = &dir; here->self != nullptr && here->self->holder != nullptr;
       here = here->self->holder) {
    names.push_back(here->self->name_view());
  }
  std::reverse(names.begin(), names.end());
  return absolute_path(names);
}

std::vector<OverlayConflict> OverlayFileSystem::visit_all() {
  for (TreeWalk walk(*this, root(), {.directories_only = true}); walk.next();) {
  }
  const std::lock_guard lock(owned_mutex_);
  return conflicts_;
}

}  // namespace pkgfs::vfs
