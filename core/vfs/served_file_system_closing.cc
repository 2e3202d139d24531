// SPDX-License-Identifier: MIT
// How a ServedFileSystem closes trees that are unused.
#include <algorithm>
#include <iterator>
#include <utility>

#include "core/vfs/served_file_system.h"

namespace pkgfs::vfs {
namespace {

/// So many trees are opened at a time, so that they can be closed.
constexpr std::size_t kMostOpening = 2;
/// The shortest time until such a tree is opened again after a failure.
constexpr std::chrono::milliseconds kAgain = std::chrono::minutes(1);

}  // namespace

std::vector<ServedFileSystem::OpenSlot> ServedFileSystem::idle(Clock::time_point now, std::chrono::milliseconds idle) {
  std::vector<OpenSlot> all;
  std::vector<Search> late;
  std::vector<NodePointer> to_open;
  {
    const MutexLock lock(mutex_);
    for (std::size_t i = 0; i < held_.size(); ++i) {
      Held& held = held_[i];
      if (!has_tree(i)) {
        continue;
      }
      if (slots_[i]->used.exchange(false)) {
        held.used = now;
      } else if (now - held.used >= idle) {
        all.push_back({.slot = i, .root = held.root, .path = held.path, .used = held.used, .early = false});
      }
    }
    add_longest_unused(all);
    free_unopened();
    to_open = take_unopened(all, now, idle);
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
  for (const NodePointer& root : to_open) {
    open_to_close(root);
  }
  names_.end_late();
  if (journal_ != nullptr) {
    journal_->report();
  }
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

std::vector<ServedFileSystem::NodePointer> ServedFileSystem::take_unopened(std::vector<OpenSlot>& all,
                                                                           Clock::time_point now,
                                                                           std::chrono::milliseconds idle) {
  std::erase_if(opening_, [](const auto& search) { return search.expired(); });
  std::size_t busy = opening_.size();
  std::vector<NodePointer> roots;
  for (const OpenSlot& each : all) {
    Held& held = held_[each.slot];
    if (slots_[each.slot]->unopened && busy < kMostOpening && now >= held.opened_next &&
        !searches_.contains(key_of(held.path, held.root, {}))) {
      held.opened_next = now + std::max(idle, kAgain);
      roots.push_back(find_node(held.root));
      ++busy;
    }
  }
  std::erase_if(all, [this](const OpenSlot& each) PKGFS_REQUIRES(mutex_) { return held_[each.slot].tree == nullptr; });
  return roots;
}

void ServedFileSystem::open_to_close(const NodePointer& root) {
  const std::string key = key_of(root->path, root->inode, {});
  const std::optional<Joined> joined = join(key, root->path, root->inode, root->state, {});
  if (joined && joined->to_begin != 0) {
    const auto running = std::make_shared<const bool>(true);
    {
      const MutexLock lock(mutex_);
      opening_.emplace_back(running);
    }
    begin(joined->to_begin, key, root->path, joined->recipe, running);
  }
}

void ServedFileSystem::add_longest_unused(std::vector<OpenSlot>& all) const {
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < held_.size(); ++i) {
    if (has_tree(i)) {
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
      } else {
        changed(*node);
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
