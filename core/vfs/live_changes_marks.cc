// SPDX-License-Identifier: MIT
// The way of a change from the host to the kernel: marks on the nodes, and notices.
#include <ctime>
#include <exception>
#include <utility>

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/vfs/live_changes.h"

namespace pkgfs::vfs {

using Watch = LiveKnowledge::Watch;

std::int64_t LiveChanges::now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  return time.tv_sec + 1;
}

bool LiveChanges::queue(LiveNode& node) {
  if (node.known.queued) {
    return false;
  }
  NoticeQueue::prepare(0);  // before: another thread relies on the flag
  if (node.known.queued.exchange(true)) {
    return false;
  }
  queue_.add(node);
  return true;
}

bool LiveChanges::queue(Inode inode, std::string_view name, std::size_t most) {
  const bool has_room = queue_.add_below(most, inode, name);
  if (!has_room) {
    lose();
  }
  return has_room;
}

void LiveChanges::mark_entry(LiveNode& dir, std::string_view name, bool other_entry) {
  if (other_entry) {
    dir.known.changed_at = now();
    if (queue(inode_of(dir), name, limits::kLiveNotices)) {  // else `mark_everything` needs the name
      const MutexLock lock(mutex_);
      if (const auto absent = dir.known.absent.find(name); absent != dir.known.absent.end()) {
        dir.known.absent.erase(absent);
      }
    }
    mark_node(dir);
  }
  nodes_.visit_child(dir, name, [&](LiveNode& child) {
    ++child.known.version;
    if (other_entry) {
      child.known.entry_changed = true;
    }
    return queue(child);
  });
}

void LiveChanges::mark_node(LiveNode& node) {
  ++node.known.version;
  nodes_.visit(node, [this](LiveNode& same) { return queue(same); });
}

void LiveChanges::mark_everything() {
  nodes_.visit_all([this](LiveNode& node) {
    ++node.known.version;
    node.known.entry_changed = true;
    {
      const MutexLock lock(mutex_);
      while (!node.known.absent.empty()) {
        queue_.add({.inode = inode_of(node), .name = *node.known.absent.begin()});
        node.known.absent.erase(node.known.absent.begin());
      }
    }
    if (node.parent != nullptr) {
      // A notice that drops a name would detach what is mounted there. Nothing can be mounted on a symbolic link.
      queue_.add({.inode = inode_of(*node.parent), .name = node.name, .expire = node.type != FileType::kSymlink});
    }
    if (node.known.watch == Watch::kWatched) {  // the end of the watch may be among what was lost
      node.known.tried_at = now() - kTryAgain;
      node.known.watch = Watch::kUnwatched;
    }
    return queue(node);
  });
}

bool LiveChanges::replace(LiveReplacement& replacement, const std::vector<Notice>& vanished, bool anyway) {
  if (!nodes_.replace(replacement, now(), anyway)) {
    return false;
  }
  if (watcher_.load(std::memory_order_acquire) == nullptr) {
    return true;  // the kernel keeps nothing longer than --live-timeout
  }
  change_count_.fetch_add(kReplacement, std::memory_order_acq_rel);
  try {
    queue_replaced(replacement, vanished);
  } catch (const std::exception&) {
    lose();  // no memory
  }
  drop_lost();
  return true;
}

void LiveChanges::drop_lost() noexcept {
  if (watcher_.load(std::memory_order_acquire) == nullptr) {
    return;
  }
  try {
    nodes_.visit_lost(
        [this](const LiveNode& lost) { queue_.add({.inode = inode_of(*lost.parent), .name = lost.name}); });
  } catch (const std::exception&) {
    lose();  // no memory
  }
  wake_();
}

void LiveChanges::queue_replaced(const LiveReplacement& replacement, const std::vector<Notice>& vanished) {
  for (const LiveReplacement::Directory& changed : replacement.directories) {
    LiveNode& node = *changed.node;
    watcher_.load(std::memory_order_acquire)->remove(inode_of(node));  // its listeners belong to layers that may go
    mark_node(node);
    const MutexLock lock(mutex_);
    node.known.told.reset();
    while (!node.known.absent.empty()) {
      queue_.add({.inode = inode_of(node), .name = *node.known.absent.begin()});
      node.known.absent.erase(node.known.absent.begin());
    }
  }
  for (const LiveNode* const gone : replacement.gone) {
    queue_.add({.inode = inode_of(*gone->parent), .name = gone->name});
  }
  for (const Notice& notice : vanished) {
    queue_.add(notice);
  }
}

void LiveChanges::mark(const HostChange& change) {
  change_count_.fetch_add(1, std::memory_order_acq_rel);
  if (change.kind == HostChange::Kind::kAll) {
    log::info("more changes on the host than the kernel could report: everything is looked up anew");
    lose();  // `mark_everything` takes long, and this thread holds a lock that each look-up needs
    return;
  }
  if (change.kind == HostChange::Kind::kReplaced) {
    lose();  // its entries are others now, and so are the directories to watch
    return;
  }
  if (change.kind == HostChange::Kind::kSuspected) {
    return;
  }
  LiveNode& dir = node_of(change.watch);
  if (change.kind == HostChange::Kind::kUnwatched) {
    dir.known.tried_at = now();
    dir.known.watch.store(Watch::kUnwatched, std::memory_order_release);
  }
  if (change.name.empty()) {
    mark_node(dir);
  } else {
    mark_entry(dir, change.name, change.kind == HostChange::Kind::kEntry);
  }
}

void LiveChanges::collect() noexcept {
  HostWatcher* const watcher = watcher_.load(std::memory_order_acquire);
  if (watcher == nullptr) {
    return;
  }
  bool any = false;
  watcher->collect([&](const HostChange& change) {
    any = true;
    try {
      mark(change);
    } catch (const std::exception&) {
      lose();  // no memory
    }
  });
  if (any || watcher->has_suspects()) {
    wake_();
  }
}

void LiveChanges::send_queued(FunctionRef<void(const Notice&)> send) noexcept {
  for (const NoticeQueue::Item& item : queue_.take()) {
    if (item.node == nullptr) {
      send(item.notice);
      continue;
    }
    LiveKnowledge& known = item.node->known;
    known.queued = false;
    const std::uint64_t version = known.version;
    if (known.told_since.exchange(false)) {
      send(item.notice);
    }
    known.clean = version;
    nodes_.forget(*item.node, 1);
  }
}

void LiveChanges::ask_listeners() noexcept {
  HostWatcher* const watcher = watcher_.load(std::memory_order_acquire);
  if (watcher == nullptr || !watcher->has_suspects()) {
    return;
  }
  try {
    watcher->ask_listeners();
  } catch (const std::exception&) {
    lose();  // no memory: they are asked at the next change
  }
  collect();  // what they have found
}

bool LiveChanges::deliver(FunctionRef<void(const Notice&)> send) noexcept {
  ask_listeners();
  send_queued(send);
  const std::uint64_t losses = losses_.load(std::memory_order_acquire);
  if (losses == told_losses_.load(std::memory_order_relaxed)) {
    return true;
  }
  bool all_marked = true;
  try {
    mark_everything();
  } catch (const std::exception&) {
    all_marked = false;  // no memory
  }
  send_queued(send);
  if (all_marked) {  // only now, so that the kernel keeps no answer before; later losses count anew
    told_losses_.store(losses, std::memory_order_release);
  }
  return !has_untold_losses();
}

}  // namespace pkgfs::vfs
