// SPDX-License-Identifier: MIT
#include "fuse/live_ids.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <algorithm>
#include <exception>
#include <optional>

#include "core/base/limits.h"
#include "core/base/log.h"

namespace pkgfs::fuse {
namespace {

/// Places in the journal begin with 0, and ids after that of the root.
constexpr std::uint64_t kFirstId = FUSE_ROOT_ID + 1;

std::uint64_t id_of(std::uint64_t place) { return place + kFirstId; }
std::uint64_t place_of(std::uint64_t id) { return id - kFirstId; }

std::uint64_t hash_text(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  return hash;
}

bool are_same(const LiveJournal::Node& a, const LiveJournal::Node& b) {
  return a.type == b.type && a.number == b.number && a.generation == b.generation && a.text_hash == b.text_hash;
}

}  // namespace

struct LiveIds::Node {
  std::atomic<vfs::Inode> inode{0};  // 0: not looked up since the daemon before
  std::atomic<bool> old{false};
  bool lost = false;
  std::uint64_t parent = FUSE_ROOT_ID;
  std::uint64_t references = 0;           // of the tree
  std::uint64_t children = 0;             // nodes whose parent this is
  std::atomic<std::uint64_t> lookups{0};  // without a place in the journal
  LiveJournal::Node what;                 // only of the daemon before
};

LiveIds::LiveIds(vfs::FileSystem& fs, LiveJournal& journal)
    : fs_(fs), journal_(journal), placed_(std::make_unique<std::atomic<Node*>[]>(LiveJournal::kNodes)) {
  const MutexLock lock(mutex_);
  restore();
}

LiveIds::~LiveIds() {
  for (std::uint32_t place = 0; place < LiveJournal::kNodes; ++place) {
    delete placed_[place].load();
  }
}

void LiveIds::restore() {
  for (std::uint32_t place = 0; place < LiveJournal::kNodes; ++place) {
    std::optional<LiveJournal::Node> what = journal_.node(place);
    if (!what) {
      continue;
    }
    fresh_ = place + 1;
    auto node = std::make_unique<Node>();
    node->old = true;
    node->parent = what->parent == LiveJournal::kRoot ? FUSE_ROOT_ID : id_of(what->parent);
    node->what = *std::move(what);
    placed_[place] = node.release();
  }
  for (std::uint32_t place = 0; place < fresh_; ++place) {
    Node* const node = placed_[place];
    if (node == nullptr) {
      free_.push_back(place);
      continue;
    }
    if (Node* const parent = this->node(node->parent); parent != nullptr) {
      ++parent->children;
    } else if (node->parent != FUSE_ROOT_ID) {
      node->lost = true;
    }
    unresolved_.emplace(Name{node->parent, node->what.name}, id_of(place));
    restored_.push_back({.id = id_of(place), .parent = node->parent, .name = node->what.name});
  }
}

LiveIds::Node* LiveIds::node(std::uint64_t id) const {
  if (id < kFirstId) {
    return nullptr;
  }
  if (place_of(id) < LiveJournal::kNodes) {
    return placed_[place_of(id)].load(std::memory_order_acquire);
  }
  const auto found = beyond_.find(id);
  return found == beyond_.end() ? nullptr : found->second.get();
}

std::atomic<std::uint64_t>& LiveIds::count_of(std::uint64_t id, Node& node) const {
  const std::uint64_t place = place_of(id);
  return place < LiveJournal::kNodes ? journal_.lookups(static_cast<std::uint32_t>(place)) : node.lookups;
}

vfs::Inode LiveIds::inode(std::uint64_t id) {
  if (id == FUSE_ROOT_ID) {
    return fs_.root();
  }
  if (id >= kFirstId && place_of(id) < LiveJournal::kNodes) {
    const Node* const known = placed_[place_of(id)].load(std::memory_order_acquire);
    const vfs::Inode inode = known == nullptr ? 0 : known->inode.load(std::memory_order_acquire);
    if (inode != 0) {
      return inode;
    }
  }
  return resolve(id);
}

vfs::Inode LiveIds::resolve(std::uint64_t id) {
  std::vector<std::pair<std::uint64_t, Node*>> chain;  // none of them goes: the kernel knows the first
  vfs::Inode inode = fs_.root();
  {
    const MutexLock lock(mutex_);
    for (std::uint64_t at = id; at != FUSE_ROOT_ID;) {
      Node* const known = node(at);
      if (known == nullptr || known->lost || chain.size() > limits::kTreeDepth) {
        throw StaleNode{};
      }
      if (const vfs::Inode found = known->inode.load(std::memory_order_acquire); found != 0) {
        inode = found;
        break;
      }
      chain.emplace_back(at, known);
      at = known->parent;
    }
  }
  for (auto step = chain.rbegin(); step != chain.rend(); ++step) {
    find_again(step->first, *step->second, inode);
    inode = step->second->inode.load(std::memory_order_acquire);
  }
  return inode;
}

void LiveIds::find_again(std::uint64_t id, Node& node, vfs::Inode parent) {
  const Result<vfs::Entry> found = fs_.lookup(parent, node.what.name);
  if (!found && found.error() != ENOENT && found.error() != ENOTDIR && found.error() != ESTALE) {
    throw StaleNode{found.error()};  // perhaps only now
  }
  bool is_same = false;
  if (found) {
    const LiveJournal::Node now = describe(node.what.name, *found);
    const MutexLock lock(mutex_);
    is_same = are_same(now, node.what);
    if (is_same && node.inode.load() == 0 && ids_.emplace(found->inode, id).second) {
      forget_name(id, node);
      node.references = 1;
      node.inode.store(found->inode, std::memory_order_release);
      return;
    }
  }
  if (found) {
    fs_.forget(found->inode, 1);
  }
  const MutexLock lock(mutex_);
  if (node.inode.load() == 0) {
    node.lost = true;
    throw StaleNode{};
  }
}

void LiveIds::forget_name(std::uint64_t id, const Node& node) {
  for (auto [at, end] = unresolved_.equal_range({node.parent, node.what.name}); at != end; ++at) {
    if (at->second == id) {
      unresolved_.erase(at);
      return;
    }
  }
}

LiveJournal::Node LiveIds::describe(std::string_view name, const vfs::Entry& found) const {
  LiveJournal::Node what{.type = found.attributes.type,
                         .number = found.attributes.number,
                         .generation = found.generation,
                         .name = std::string(name)};
  if (what.type == vfs::FileType::kSymlink) {
    what.text_hash = hash_text(fs_.read_link(found.inode).value_or(""));
  }
  return what;
}

void LiveIds::add_reference(std::uint64_t id, Node& node) {
  count_of(id, node).fetch_add(1, std::memory_order_relaxed);
  ++node.references;
}

std::uint64_t LiveIds::tell(std::uint64_t parent, std::string_view name, const vfs::Entry& found) {
  try {
    {
      const MutexLock lock(mutex_);
      if (const auto known = ids_.find(found.inode); known != ids_.end()) {
        add_reference(known->second, *node(known->second));
        return known->second;
      }
    }
    LiveJournal::Node what = describe(name, found);
    const MutexLock lock(mutex_);
    if (const auto known = ids_.find(found.inode); known != ids_.end()) {
      add_reference(known->second, *node(known->second));
      return known->second;
    }
    if (unresolved_.empty()) {
      return add(parent, std::move(what), found.inode);
    }
    for (auto [before, end] = unresolved_.equal_range({parent, what.name}); before != end; ++before) {
      const std::uint64_t id = before->second;
      Node& restored = *node(id);
      if (!restored.lost && are_same(restored.what, what)) {
        ids_.emplace(found.inode, id);
        unresolved_.erase(before);
        add_reference(id, restored);
        restored.inode.store(found.inode, std::memory_order_release);
        return id;
      }
    }
    return add(parent, std::move(what), found.inode);
  } catch (const std::exception&) {
    fs_.forget(found.inode, 1);
    throw;
  }
}

std::uint64_t LiveIds::add(std::uint64_t parent, LiveJournal::Node what, vfs::Inode inode) {
  auto fresh = std::make_unique<Node>();
  fresh->inode = inode;
  fresh->parent = parent;
  fresh->references = 1;
  const bool below_root = parent == FUSE_ROOT_ID;
  const bool uses_places = uses_places_;
  if (uses_places && (below_root || place_of(parent) < LiveJournal::kNodes)) {
    what.parent = below_root ? LiveJournal::kRoot : static_cast<std::uint32_t>(place_of(parent));
    const bool has_free = !free_.empty();
    const std::uint32_t place = has_free ? free_.back() : fresh_;
    if (place < LiveJournal::kNodes) {
      if (free_.capacity() <= fresh_) {
        free_.reserve(std::size_t{2} * fresh_ + 64);  // so that `forget` needs no memory
      }
      ids_.emplace(inode, id_of(place));
      if (journal_.put(place, what)) {
        has_free ? free_.pop_back() : void(++fresh_);
        placed_[place].store(fresh.release(), std::memory_order_release);
        if (Node* const above = node(parent); above != nullptr) {
          ++above->children;
        }
        return id_of(place);
      }
      ids_.erase(inode);
    }
  }
  if (uses_places && !std::exchange(is_full_, true)) {
    log::warn(
        "the kernel knows more live entries than a successor of this daemon can take over: if this daemon is killed, "
        "the open ones of the others fail with ESTALE");
  }
  fresh->lookups = 1;
  const std::uint64_t id = id_of(journal_.beyond_nodes().fetch_add(1));
  const auto known = ids_.emplace(inode, id).first;
  try {
    beyond_.emplace(id, std::move(fresh));
  } catch (const std::exception&) {
    ids_.erase(known);
    throw;
  }
  Node* const above = node(parent);
  if (above != nullptr) {
    ++above->children;
  }
  return id;
}

void LiveIds::forget(std::uint64_t id, std::uint64_t count) noexcept {
  std::uint64_t returned = count;
  for (std::uint64_t at = id; at >= kFirstId;) {
    Freed freed{};
    std::uint64_t above = FUSE_ROOT_ID;
    {
      const MutexLock lock(mutex_);
      Node* const known = node(at);
      if (known == nullptr) {
        return;  // of an earlier daemon
      }
      std::atomic<std::uint64_t>& lookups = count_of(at, *known);
      if (at == id) {
        lookups -= std::min(std::exchange(returned, 0), lookups.load());
      } else {
        --known->children;
      }
      if (lookups != 0 || known->children != 0) {
        return;
      }
      freed = {.inode = known->inode, .references = known->references};
      above = known->parent;
      if (freed.inode != 0) {
        ids_.erase(freed.inode);
      } else {
        forget_name(at, *known);
      }
      if (place_of(at) < LiveJournal::kNodes) {
        const auto place = static_cast<std::uint32_t>(place_of(at));
        journal_.erase(place);
        placed_[place] = nullptr;
        free_.push_back(place);
        delete known;
      } else {
        beyond_.erase(at);
      }
    }
    if (freed.inode != 0) {
      fs_.forget(freed.inode, freed.references);
    }
    at = above;
  }
}

std::uint64_t LiveIds::find(vfs::Inode inode) const {
  if (inode == fs_.root()) {
    return FUSE_ROOT_ID;
  }
  const MutexLock lock(mutex_);
  const auto found = ids_.find(inode);
  return found == ids_.end() ? 0 : found->second;
}

bool LiveIds::has_old_content(std::uint64_t id) {
  const MutexLock lock(mutex_);
  Node* const known = node(id);
  return known != nullptr && known->old.exchange(false);
}

std::vector<LiveIds::Restored> LiveIds::take_restored() {
  const MutexLock lock(mutex_);
  return std::exchange(restored_, {});
}

}  // namespace pkgfs::fuse
