// SPDX-License-Identifier: MIT
// How a ServedFileSystem finds, opens and closes trees.
#include <algorithm>
#include <cerrno>
#include <exception>
#include <iterator>
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
    node = find_node(dir);
    if (node != nullptr && node->kind == Kind::kTree) {
      tree = dir;
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
    const bool is_closing = node != nullptr && node->slot != kNoSlot;
    search.number = ++last_number_;
    search.path = path;
    search.tree = tree;
    search.state = state;
    search.begun = !is_closing;
    search.deadline = Clock::now() + options_.patience;
    search.latest = Clock::now() + kQueueTimes * options_.patience;
    joined.to_begin = is_closing ? 0 : search.number;
    joined.recipe = node == nullptr ? nullptr : node->recipe;
  }
  search.waiters.emplace_back(joined.waiter, ready);
  return joined;
}

void ServedFileSystem::begin(std::uint64_t number, const std::string& key, const std::string& path,
                             std::shared_ptr<const void> recipe) {
  try {
    names_.find(number, path, std::move(recipe),
                [this, number, key](ServedNames::Finding finding) { found(number, key, std::move(finding)); });
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
  const std::size_t slot = free_slot();
  if (slot == kNoSlot) {
    remember(search, EMFILE,
             std::to_string(std::min(options_.most_open, kSlots)) + " packages are open, and programs use them");
    return;
  }
  FileSystem& tree = finding.tree->tree();
  const Result<Attributes> root = tree.metadata(tree.root());
  if (!root) {
    remember(search, root.error(), "the root directory of the package can't be read");
    return;
  }
  NodePointer node = search.tree == 0 ? nullptr : find_node(search.tree);
  if (node != nullptr && (node->fingerprint != tree.fingerprint() || node->fingerprint == 0)) {
    // The kernel knows entries of the tree of before. It looks the path up again.
    node->error = ESTALE;
    node = nullptr;
  }
  if (node == nullptr) {
    node = make_node(Kind::kTree, search.path);
    node->state = search.state;
    node->fingerprint = tree.fingerprint();
  }
  const std::uint64_t base = base_for(search.path);
  node->attributes = *root;
  node->attributes.number += base;
  node->attributes.live = !node->state.empty();  // such a name may lead to another tree at any time
  slots_[slot]->base = base;
  attach(node, slot, std::move(finding.tree));
}

void ServedFileSystem::attach(const NodePointer& node, std::size_t slot, std::shared_ptr<HeldTree> tree) {
  FileSystem* const opened = &tree->tree();
  node->slot = slot;
  node->recipe = tree->recipe();
  held_[slot] = {.tree = std::move(tree),
                 .absent = std::make_unique<AbsentNames>(),
                 .root = node->inode,
                 .path = node->path,
                 .used = Clock::now(),
                 .hidden = false};
  slots_[slot]->absent = held_[slot].absent.get();
  slots_[slot]->references = 0;
  slots_[slot]->used = true;
  slots_[slot]->tree = opened;
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
  const auto free = std::ranges::find(held_, nullptr, &Held::tree);
  if (free != held_.end()) {
    return static_cast<std::size_t>(free - held_.begin());
  }
  if (held_.size() >= std::min(options_.most_open, kSlots)) {
    return kNoSlot;
  }
  const std::size_t made = held_.size();
  slots_[made] = std::make_unique<Slot>();
  slots_[made]->index = made;
  held_.emplace_back();
  return made;
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
    if (held_[i].tree != nullptr && slots_[i]->base == base) {
      return true;
    }
  }
  return false;
}

std::vector<ServedFileSystem::OpenSlot> ServedFileSystem::idle(Clock::time_point now, std::chrono::milliseconds idle) {
  std::vector<OpenSlot> all;
  std::vector<Search> late;
  {
    const MutexLock lock(mutex_);
    for (std::size_t i = 0; i < held_.size(); ++i) {
      Held& held = held_[i];
      if (held.tree == nullptr) {
        continue;
      }
      if (slots_[i]->used.exchange(false)) {
        held.used = now;
      } else if (now - held.used >= idle) {
        all.push_back({.slot = i, .root = held.root, .path = held.path, .used = held.used, .early = false});
      }
    }
    add_longest_unused(all);
    for (auto search = searches_.begin(); search != searches_.end();) {
      Search& one = search->second;
      if (one.begun && now < one.latest && names_.progress(one.number) == 0) {
        one.deadline = std::min(now + options_.patience, one.latest);  // its time begins when a thread works on it
      }
      if (now >= one.deadline) {
        late.push_back(time_out(one, now));
      }
      search = now < one.deadline ? std::next(search) : searches_.erase(search);
    }
    forget_old(now);
  }
  names_.end_late();
  for (const Search& search : late) {
    if (!search.kept) {
      names_.give_up(search.number);
    }
    for (const auto& [waiter, ready] : search.waiters) {
      ready();
    }
  }
  return all;
}

void ServedFileSystem::add_longest_unused(std::vector<OpenSlot>& all) const {
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < held_.size(); ++i) {
    if (held_[i].tree != nullptr) {
      open.push_back(i);
    }
  }
  const std::size_t enough = std::min(options_.most_open, kSlots) / 2;
  if (open.size() <= enough + enough / 2) {
    return;
  }
  std::ranges::sort(open, {}, [this](std::size_t slot) PKGFS_REQUIRES(mutex_) { return held_[slot].used; });
  open.resize(open.size() - enough);
  for (const std::size_t slot : open) {
    const Held& held = held_[slot];
    if (const auto idle = std::ranges::find(all, slot, &OpenSlot::slot); idle != all.end()) {
      idle->early = true;
    } else {
      all.push_back({.slot = slot, .root = held.root, .path = held.path, .used = held.used, .early = true});
    }
  }
}

FileSystem& ServedFileSystem::tree_of(std::size_t slot) const {
  const MutexLock lock(mutex_);
  return held_.at(slot).tree->tree();
}

void ServedFileSystem::hide(std::size_t slot) {
  const MutexLock lock(mutex_);
  held_.at(slot).hidden = true;
}

void ServedFileSystem::detach(std::size_t slot) { slots_[slot]->tree = nullptr; }

void ServedFileSystem::give_back(std::size_t slot) {
  Search waiting;
  {
    const MutexLock lock(mutex_);
    Held& held = held_.at(slot);
    held.hidden = false;
    held.used = Clock::now();
    slots_[slot]->tree = &held.tree->tree();
    if (const auto search = searches_.find(key_of(held.path, held.root, {})); search != searches_.end()) {
      waiting = std::move(search->second);
      searches_.erase(search);
    }
  }
  for (const auto& [waiter, ready] : waiting.waiters) {
    ready();
  }
}

std::shared_ptr<HeldTree> ServedFileSystem::close(std::size_t slot) {
  std::shared_ptr<HeldTree> closed;
  std::shared_ptr<const void> recipe;
  std::string path;
  std::string key;
  std::uint64_t number = 0;
  {
    const MutexLock lock(mutex_);
    slots_[slot]->tree = nullptr;
    Held held = std::exchange(held_.at(slot), {});
    closed = std::move(held.tree);
    ++closed_;
    path = held.path;
    key = key_of(path, held.root, {});
    if (const NodePointer node = find_node(held.root); node != nullptr) {
      node->slot = kNoSlot;
      recipe = node->recipe;
      if (node->references == 0) {
        drop(node);
      }
    }
    if (const auto search = searches_.find(key); search != searches_.end() && !search->second.begun) {
      search->second.begun = true;
      number = search->second.number;
    }
  }
  if (number != 0) {
    begin(number, key, path, std::move(recipe));
  }
  return closed;
}

}  // namespace pkgfs::vfs
