// SPDX-License-Identifier: MIT
// How a ServedFileSystem finds, opens and closes trees.
#include <algorithm>
#include <cerrno>
#include <exception>
#include <utility>

#include "core/vfs/path_text.h"
#include "core/vfs/served_file_system.h"

namespace pkgfs::vfs {
namespace {

/// For so long, a link leads to what was found.
constexpr auto kLinkTime = std::chrono::seconds(5);
/// A search waits no longer than so many times the patience for a free thread.
constexpr int kQueueTimes = 4;
/// Where the number of a tree is in a number that stat shows. Trees with stable inodes have fewer than 2^31 numbers.
constexpr unsigned kBaseShift = 32;
constexpr std::uint64_t kBases = (std::uint64_t{1} << 29U) - 1;

}  // namespace

std::string ServedFileSystem::key_of(const std::string& path, Inode tree, const std::string& state) {
  return path + '\0' + (tree == 0 ? state : std::to_string(tree));
}

std::uint64_t ServedFileSystem::wait_for(Inode dir, std::string_view name, const std::function<void()>& ready) {
  std::string path;
  std::string state;
  Inode tree = 0;
  NodePointer node;
  {
    const MutexLock lock(mutex_);
    node = find_node(is_inner(dir) ? held_root(dir) : dir);
    if (node != nullptr && node->kind == Kind::kTree) {
      tree = node->inode;
      path = node->path;
      state = node->state;
    } else if (node != nullptr) {
      path = node->path;
    }
  }
  if (node == nullptr) {
    ready();
    return 0;
  }
  if (tree == 0) {
    state = names_.meaning_of(path, name).state;
    path = path_in(path, name);
  }
  const std::string key = key_of(path, tree, state);
  if (const std::optional<Joined> joined = join(key, path, tree, state, ready)) {
    if (joined->to_begin != 0) {
      begin(joined->to_begin, key, path, joined->recipe);
    }
    return joined->waiter;
  }
  ready();
  return 0;
}

/// Another look-up may have found it since the caller has looked.
bool ServedFileSystem::is_found(const std::string& path, const std::string& state) const {
  const NodePointer node = current_node(path);
  return node != nullptr && ((node->kind == Kind::kTree && node->state == state && node->error == 0) ||
                             (node->kind == Kind::kLink && Clock::now() < node->until));
}

std::optional<ServedFileSystem::Joined> ServedFileSystem::join(const std::string& key, const std::string& path,
                                                               Inode tree, const std::string& state,
                                                               const std::function<void()>& ready) {
  const MutexLock lock(mutex_);
  const NodePointer node = tree == 0 ? nullptr : find_node(tree);
  const bool is_settled = tree == 0 ? failure_of(path, state) != nullptr || is_found(path, state)
                                    : node == nullptr || tree_at(*node) != fail(kMustWait);
  if (is_settled) {
    return std::nullopt;
  }
  Joined joined{.waiter = ++last_number_, .to_begin = 0, .recipe = nullptr};
  Search& search = searches_[key];
  if (search.number == 0) {
    const bool is_closing = node != nullptr && node->slot != kNoSlot && !is_unopened(*node);
    search.number = ++last_number_;
    search.path = path;
    search.tree = tree;
    search.state = state;
    search.begun = !is_closing;
    search.to_close = true;
    search.deadline = Clock::now() + options_.patience;
    search.latest = Clock::now() + kQueueTimes * options_.patience;
    joined.to_begin = is_closing ? 0 : search.number;
    joined.recipe = node == nullptr ? nullptr : node->recipe;
  }
  if (ready) {
    search.to_close = false;
    search.waiters.emplace_back(joined.waiter, ready);
  }
  return joined;
}

void ServedFileSystem::begin(std::uint64_t number, const std::string& key, const std::string& path,
                             std::shared_ptr<const void> recipe, const std::shared_ptr<const void>& running) {
  try {
    names_.find(number, path, std::move(recipe),
                [this, number, key, running](ServedNames::Finding finding) { found(number, key, std::move(finding)); });
  } catch (const std::exception& error) {
    found(number, key, {.tree = nullptr, .link = {}, .error = EIO, .reason = error.what()});
  }
}

void ServedFileSystem::leave(std::uint64_t waiter) {
  std::uint64_t given_up = 0;
  {
    const MutexLock lock(mutex_);
    for (auto search = searches_.begin(); search != searches_.end(); ++search) {
      auto& waiters = search->second.waiters;
      if (std::erase_if(waiters, [&](const auto& each) { return each.first == waiter; }) > 0) {
        if (waiters.empty() && !search->second.kept) {
          given_up = search->second.begun ? search->second.number : 0;
          searches_.erase(search);
        }
        break;
      }
    }
  }
  if (given_up != 0) {
    names_.give_up(given_up);
  }
}

void ServedFileSystem::found(std::uint64_t number, const std::string& key, ServedNames::Finding finding) {
  Search search;
  {
    const MutexLock lock(mutex_);
    const auto place = searches_.find(key);
    if (place == searches_.end() || place->second.number != number) {
      return;  // it took too long, or nothing waits for it any more
    }
    search = std::move(place->second);
    searches_.erase(place);
    take(search, finding);
  }
  for (const auto& [waiter, ready] : search.waiters) {
    ready();
  }
}

void ServedFileSystem::take(const Search& search, ServedNames::Finding& finding) {
  failures_.erase(search.path);
  if (finding.tree != nullptr) {
    take_tree(search, finding);
  } else if (finding.error == 0) {
    take_link(search.path, finding.link);
  } else if (const NodePointer node = current_node(search.path);
             node != nullptr && node->kind == Kind::kLink && finding.error != ENOENT) {
    node->until = Clock::now() + kRemembered;  // what it meant before is better than nothing
    ++failed_;
  } else {
    remember(search, finding.error, finding.reason);
  }
}

void ServedFileSystem::take_link(const std::string& path, const std::string& text) {
  NodePointer node = current_node(path);
  if (node == nullptr || node->kind != Kind::kLink || node->text != text) {
    // The kernel caches the text, so another text needs another node.
    node = make_node(Kind::kLink, path);
    node->text = text;
    node->attributes.size = text.size();
  }
  node->until = Clock::now() + kLinkTime;
}

void ServedFileSystem::link_changed(const std::string& path, const std::string& text) {
  const MutexLock lock(mutex_);
  if (const NodePointer node = current_node(path); node != nullptr && node->kind == Kind::kLink) {
    take_link(path, text);
  }
}

void ServedFileSystem::take_tree(const Search& search, ServedNames::Finding& finding) {
  FileSystem& tree = finding.tree->tree();
  const Result<Attributes> root = tree.metadata(tree.root());
  if (!root) {
    remember(search, root.error(), "the root directory of the package can't be read");
    return;
  }
  NodePointer node = search.tree == 0 ? nullptr : find_node(search.tree);
  if (node == nullptr && search.to_close) {
    return;  // it was given up meanwhile
  }
  if (node != nullptr &&
      (node->fingerprint != tree.fingerprint() || node->fingerprint == 0 || (is_unopened(*node) && finding.changed))) {
    // The kernel knows entries of the tree of before. It looks the path up again.
    node->error = ESTALE;
    if (is_unopened(*node)) {
      give_up_unopened(*node);
    }
    changed(*node);
    if (search.to_close) {
      return;  // nothing has asked for the tree that is there now
    }
    node = nullptr;
  }
  const bool has_slot = node != nullptr && is_unopened(*node);
  std::size_t slot = has_slot ? node->slot : free_slot();
  const auto all_are_used = [&]() PKGFS_REQUIRES(mutex_) {
    remember(search, EMFILE,
             std::to_string(std::min(options_.most_open, kSlots)) + " packages are open, and programs use them");
  };
  if (slot == kNoSlot) {
    all_are_used();
    return;
  }
  if (node == nullptr) {
    node = make_node(Kind::kTree, search.path);
    node->state = search.state;
    node->fingerprint = tree.fingerprint();
  }
  while (!has_slot && !take_slot(*node, slot)) {
    slot = free_slot();
    if (slot == kNoSlot) {
      all_are_used();
      return;
    }
  }
  node->attributes = *root;
  node->attributes.number += slots_[slot]->base;
  node->attributes.live = !node->state.empty();  // such a name may lead to another tree at any time
  attach(node, std::move(finding.tree), !search.to_close);
}

bool ServedFileSystem::take_slot(Node& node, std::size_t slot) {
  slots_[slot]->base = base_for(node.path);
  node.slot = slot;
  if (journal_ == nullptr) {
    *slots_[slot]->references = 0;
    return true;
  }
  note(node);
  if (*slots_[slot]->references == 0) {
    return true;
  }
  node.slot = kNoSlot;
  note(node);
  return false;
}

void ServedFileSystem::attach(const NodePointer& node, std::shared_ptr<HeldTree> tree, bool is_used) {
  FileSystem* const opened = &tree->tree();
  const std::size_t slot = node->slot;
  node->recipe = tree->recipe();
  auto absent = std::make_unique<AbsentNames>();
  if (slots_[slot]->unopened) {
    absent->lose();  // those that the process before has given to the kernel
  }
  held_[slot] = {.tree = std::move(tree),
                 .absent = std::move(absent),
                 .root = node->inode,
                 .path = node->path,
                 .used = is_used ? Clock::now() : held_[slot].used,
                 .hidden = false};
  note(*node);
  slots_[slot]->absent = held_[slot].absent.get();
  slots_[slot]->used = is_used;
  slots_[slot]->tree = opened;
  if (slots_[slot]->unopened.exchange(false)) {
    --unopened_;
  }
  ++opened_;
}

/// Sequentially consistent, as fuse::Answering needs it.
std::unique_ptr<AbsentNames> ServedFileSystem::take_absent(std::size_t slot) {
  auto next = std::make_unique<AbsentNames>();
  const MutexLock lock(mutex_);
  slots_[slot]->absent = next.get();
  held_.at(slot).absent.swap(next);
  return next;
}

std::size_t ServedFileSystem::free_slot() {
  for (std::size_t i = 0; i < std::min(options_.most_open, kSlots); ++i) {
    if (i == held_.size()) {
      held_.emplace_back();
    }
    const Slot& slot = make_slot(i);
    // The kernel may know inodes in a slot whose tree of a process before can't be opened again.
    if (held_[i].tree == nullptr && !slot.unopened && (journal_ == nullptr || *slot.references == 0)) {
      return i;
    }
  }
  return kNoSlot;
}

/// The same for a path each time, unless an open tree has it.
std::uint64_t ServedFileSystem::base_for(const std::string& path) const {
  std::uint64_t number = hash_of(0, path) % kBases;
  while (has_base((number + 1) << kBaseShift)) {
    number = (number + 1) % kBases;
  }
  return (number + 1) << kBaseShift;
}

bool ServedFileSystem::has_base(std::uint64_t base) const {
  for (std::size_t i = 0; i < held_.size(); ++i) {
    if (has_tree(i) && slots_[i]->base == base) {
      return true;
    }
  }
  return false;
}

}  // namespace pkgfs::vfs
