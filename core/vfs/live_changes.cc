// SPDX-License-Identifier: MIT
#include "core/vfs/live_changes.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "core/base/limits.h"
#include "core/base/log.h"

namespace pkgfs::vfs {
namespace {

using Watch = LiveKnowledge::Watch;

constexpr std::int64_t kRecent = 2;        // seconds, as for Attributes::recent
constexpr std::size_t kMostAbsent = 1024;  // names of a directory

/// The right to watch one directory. A host that doesn't answer there stops no look-up in another one.
class Turn {
 public:
  explicit Turn(std::atomic<bool>& taken) : taken_(taken) {
    while (taken_.exchange(true, std::memory_order_acquire)) {
      taken_.wait(true, std::memory_order_relaxed);
    }
  }
  ~Turn() {
    taken_.store(false, std::memory_order_release);
    taken_.notify_all();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::atomic<bool>& taken_;
};

LiveKnowledge::Told state(const Attributes& attributes) {
  return {attributes.number, attributes.size, attributes.modified, attributes.modified_ns, attributes.type};
}

}  // namespace

LiveChanges::LiveChanges(LiveNodes& nodes, LiveLayers& layers) : nodes_(nodes), layers_(layers) {
  nodes_.on_dropped([this](const LiveNode& dir) {
    if (HostWatcher* const watcher = watcher_.load(std::memory_order_acquire); watcher != nullptr) {
      watcher->remove(inode_of(dir));  // also if `ensure_watched` failed halfway
    }
  });
}

void LiveChanges::start(std::unique_ptr<HostWatcher> watcher, std::function<void()> wake) {
  wake_ = std::move(wake);
  owned_ = std::move(watcher);
  watcher_.store(owned_.get(), std::memory_order_release);
}

LiveChanges::ChangeCount LiveChanges::begin(Inode dir) {
  if (watcher_.load(std::memory_order_acquire) == nullptr) {
    return 0;
  }
  if (dir != 0 && !is_handed_through(dir)) {
    ensure_watched(node_of(dir));
  }
  collect();
  NoticeQueue::prepare(limits::kNameBytes);  // last: to mark changes needs items, too
  return change_count_.load(std::memory_order_acquire);
}

void LiveChanges::ensure_watched(LiveNode& dir) {
  const auto needed = [&dir] {
    const Watch watch = dir.known.watch.load(std::memory_order_acquire);
    return watch == Watch::kUntried || (watch == Watch::kUnwatched && now() - dir.known.tried_at >= kTryAgain);
  };
  if (!needed()) {
    return;
  }
  const Turn turn(dir.known.watching);
  if (!needed()) {
    return;
  }
  HostWatcher& watcher = *watcher_.load(std::memory_order_acquire);
  const bool is_first = dir.known.watch.load(std::memory_order_acquire) == Watch::kUntried;
  dir.known.tried_at = now();
  watcher.remove(inode_of(dir));  // what is left of a watch that may have ended unnoticed
  const HostWatcher::Counts before = watcher.counts();
  bool watched = true;
  bool recent = false;
  const auto use = layers_.use();
  const LiveContent& content = dir.content();
  for (const LiveContent::Part& part : content.parts) {
    if (watched && layers_[part.layer].live) {
      FileSystem& fs = *layers_[part.layer].fs;
      watched = fs.watch(part.inode, watcher, inode_of(dir));
      const Result<Attributes> attributes = fs.metadata(part.inode);
      recent = recent || !attributes || attributes->recent;
    }
  }
  if (watched) {
    dir.known.changed_at = recent ? now() : 0;
    if (is_first) {
      dir.known.clean.store(dir.known.version);  // no listing was kept so far
    } else {
      change_count_.fetch_add(1, std::memory_order_acq_rel);  // a change between two watches may be missing in a reply
    }
    nodes_.visit(dir, [&content](LiveNode& same) {
      if (&same.content() == &content) {
        same.known.watch.store(Watch::kWatched, std::memory_order_release);
      }
      return false;
    });
    if (&dir.content() == &content) {
      return;
    }
    dir.known.tried_at = 0;  // the tree was replaced: other directories are to be watched
  }
  watcher.remove(inode_of(dir));
  dir.known.watch.store(Watch::kUnwatched, std::memory_order_release);
  const HostWatcher::Counts after = watcher.counts();
  const bool limited = after.limited > before.limited;
  std::atomic<bool>& is_told = limited ? limit_told_ : unsupported_told_;
  if ((limited || after.unsupported > before.unsupported) && !is_told.exchange(true)) {
    log::warn("changes of the host in \"{}\" show only after --live-timeout: {}", path_of(dir),
              limited ? "the limit on watched directories is reached; raise fs.inotify.max_user_watches (pkgfs doctor "
                        "shows it)"
                      : "they can't be watched there, as on network file systems");
  }
}

bool LiveChanges::is_behind() const {
  const HostWatcher* const watcher = watcher_.load(std::memory_order_acquire);
  return has_untold_losses() || (watcher != nullptr && watcher->is_behind());
}

bool LiveChanges::changed_recently(const LiveNode& dir) const {
  if (is_behind()) {
    return true;
  }
  const std::int64_t changed = dir.known.changed_at.load(std::memory_order_relaxed);
  return changed != 0 && now() - changed <= kRecent;
}

bool LiveChanges::is_watched(Inode dir) const {
  if (is_handed_through(dir) || is_behind() ||
      node_of(dir).known.watch.load(std::memory_order_acquire) != Watch::kWatched) {
    return false;
  }
  // Below a directory that was moved away, a node's path shows another directory than the one that is watched.
  const LiveNode* node = &node_of(dir);
  while (node->parent != nullptr && !node->known.entry_changed) {
    node = node->parent;
  }
  return node->parent == nullptr;
}

Trust LiveChanges::trust(const LiveNode& node, const Attributes& attributes) const {
  if (attributes.recent || is_behind()) {
    return Trust::kNone;
  }
  if (attributes.type == FileType::kDirectory) {
    return !is_watched(inode_of(node)) ? Trust::kShort : changed_recently(node) ? Trust::kNone : Trust::kWatched;
  }
  // A write through another name of the file is reported to the directory of that name.
  const bool reported = node.parent != nullptr && is_watched(inode_of(*node.parent)) && attributes.links <= 1;
  return reported ? Trust::kWatched : Trust::kShort;
}

void LiveChanges::note_told(LiveNode& node, const Attributes& attributes) {
  node.known.told_since = true;
  const MutexLock lock(mutex_);
  if (!node.known.told && node.parent != nullptr && is_watched(inode_of(*node.parent)) &&
      attributes.type != FileType::kDirectory) {
    node.known.clean.store(node.known.version);  // the kernel has nothing of a file that it hasn't heard of
  }
  node.known.told = state(attributes);
}

LiveChanges::EntryTrust LiveChanges::told_entry(Inode dir, const Entry& found) {
  if (is_handed_through(dir)) {
    return {};
  }
  const LiveNode& parent = node_of(dir);
  const bool restless = found.attributes.recent || changed_recently(parent);
  if (is_handed_through(found.inode)) {
    return {.entry = restless ? Trust::kNone : Trust::kShort, .attributes = Trust::kShort};
  }
  LiveNode& node = node_of(found.inode);
  node.known.entry_changed = false;
  note_told(node, found.attributes);
  return {.entry = restless          ? Trust::kNone
                   : is_watched(dir) ? Trust::kWatched
                                     : Trust::kShort,
          .attributes = trust(node, found.attributes)};
}

Trust LiveChanges::told_absent(Inode dir, const Attributes& attributes, std::string_view name) {
  if (is_handed_through(dir)) {
    return Trust::kShort;
  }
  LiveNode& node = node_of(dir);
  if (attributes.recent || changed_recently(node)) {
    return Trust::kNone;
  }
  if (!is_watched(dir)) {
    return Trust::kShort;
  }
  const MutexLock lock(mutex_);
  if (node.known.absent.size() >= kMostAbsent && !node.known.absent.contains(name)) {
    return Trust::kShort;
  }
  node.known.absent.emplace(name);
  return Trust::kWatched;
}

Trust LiveChanges::told_attributes(Inode inode, const Attributes& attributes) {
  if (is_handed_through(inode)) {
    return Trust::kShort;
  }
  LiveNode& node = node_of(inode);
  note_told(node, attributes);
  return trust(node, attributes);
}

void LiveChanges::replied(ChangeCount before, Inode dir, std::string_view name, Inode inode) noexcept {
  if (change_count_.load(std::memory_order_acquire) == before) {
    return;
  }
  try {
    // Changes leave room for replies: this notice may be the only one that reaches the kernel after the reply.
    (void)queue(name.empty() ? inode : dir, name, 2 * limits::kLiveNotices);
  } catch (const std::exception&) {
    lose();  // `begin` didn't watch yet, and has taken no memory
  }
  wake_();
}

bool LiveChanges::is_as_told(Inode inode, const Attributes& now) {
  if (is_handed_through(inode)) {
    return true;
  }
  const LiveNode& node = node_of(inode);
  if (node.known.entry_changed || node.type != now.type) {
    return false;
  }
  const MutexLock lock(mutex_);
  const auto& told = node.known.told;
  return !told || (now.type == FileType::kDirectory ? told->number == now.number : *told == state(now));
}

bool LiveChanges::was_replaced(Inode inode, const Attributes& now) {
  if (is_handed_through(inode)) {
    return false;
  }
  const LiveNode& node = node_of(inode);
  if (node.type != now.type || now.type == FileType::kDirectory) {
    return node.type != now.type;
  }
  const std::uint64_t told = told_number(inode);
  return told != 0 && told != now.number;
}

bool LiveChanges::is_of_type(Inode inode, FileType type) {
  return is_handed_through(inode) || node_of(inode).type == type;
}

void LiveChanges::hold(Inode inode) {
  if (!is_handed_through(inode)) {
    nodes_.visit(node_of(inode), [](LiveNode& /*node*/) { return true; });
  }
}

std::uint64_t LiveChanges::told_number(Inode inode) {
  if (is_handed_through(inode)) {
    return 0;
  }
  const MutexLock lock(mutex_);
  const auto& told = node_of(inode).known.told;
  return told ? told->number : 0;
}

bool LiveChanges::may_keep(Inode inode, const Attributes& now) {
  if (is_handed_through(inode)) {
    return true;
  }
  LiveNode& node = node_of(inode);
  node.known.told_since = true;
  const bool is_directory = now.type == FileType::kDirectory;
  if (is_directory ? !is_watched(inode) : (node.parent == nullptr || !is_watched(inode_of(*node.parent)))) {
    return false;
  }
  const std::uint64_t clean = node.known.clean;
  if (clean == LiveKnowledge::kNever) {
    // The kernel may have pages from the time before the directory was watched.
    nodes_.visit(node, [this](LiveNode& same) { return queue(same); });
    wake_();
  }
  return clean == node.known.version && !now.recent && (is_directory || now.links <= 1);
}

std::shared_ptr<OpenFile> LiveChanges::kept_file(Inode inode, ChangeCount before) const {
  return is_handed_through(inode) || is_behind() ? nullptr : kept_.find(node_of(inode), before, now());
}

bool LiveChanges::is_path_watched(Inode file) const {
  if (is_handed_through(file) || is_behind()) {
    return false;
  }
  const LiveNode* node = &node_of(file);
  while (node->parent != nullptr && !node->known.entry_changed &&
         node->parent->known.watch.load(std::memory_order_acquire) == Watch::kWatched) {
    node = node->parent;
  }
  return node->parent == nullptr;
}

void LiveChanges::keep_file(Inode inode, ChangeCount before, std::shared_ptr<OpenFile> file, std::size_t open) {
  const LiveNode& node = node_of(inode);
  if (node.first.generation != 0 && kept_.keep(node, before, now(), std::move(file), open)) {
    wake_();  // it ends them
  }
}

bool LiveChanges::end_old_files() noexcept {
  return kept_.end_old(change_count_.load(std::memory_order_acquire), now());
}

void LiveChanges::reading(Inode file) {
  if (!is_handed_through(file)) {
    node_of(file).known.told_since = true;
  }
}

LiveChanges::ChangeCount LiveChanges::begin_listing(Inode dir) {
  if (is_handed_through(dir)) {
    return 0;
  }
  const ChangeCount before = begin();
  // Held until `listed`: the kernel may forget the directory when it has the reply.
  nodes_.visit(node_of(dir), [](LiveNode& node) {
    node.known.told_since = true;
    return true;
  });
  return before;
}

void LiveChanges::listed(ChangeCount before, Inode dir) noexcept {
  if (is_handed_through(dir)) {
    return;
  }
  if (change_count_.load(std::memory_order_acquire) != before) {
    // The listing may have reached the kernel after the notice of a change that it lacks.
    node_of(dir).known.told_since = true;
    try {
      mark_node(node_of(dir));
    } catch (const std::exception&) {
      lose();  // as in `replied`
    }
    wake_();
  }
  nodes_.forget(node_of(dir), 1);
}

}  // namespace pkgfs::vfs
