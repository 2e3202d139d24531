// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "core/base/function_ref.h"
#include "core/base/thread_annotations.h"
#include "core/vfs/file_system.h"
#include "core/vfs/host_watcher.h"
#include "core/vfs/kept_files.h"
#include "core/vfs/live_layers.h"
#include "core/vfs/live_nodes.h"
#include "core/vfs/merge.h"
#include "core/vfs/notice_queue.h"

namespace pkgfs::vfs {

/// How long the kernel may keep an answer about a live entry.
enum class Trust : std::uint8_t {
  kNone,     // not at all: the entry changed a moment ago and may change again, or not all changes are marked yet
  kShort,    // for --live-timeout: not all changes of the entry are reported, as without a watch
  kWatched,  // until a notice comes; LiveOperations limits this to a minute, or to --live-timeout if that is longer
};

/// What the kernel knows of the entries of a LiveOverlayFileSystem, and what changed since. Thread-safe.
///
/// The caller answers a request about a live entry in four steps. It calls `begin`, asks the file system, and calls one
/// of the `told` functions. When the kernel has the reply, it calls `replied`. `begin` watches the directory before the
/// host is asked, so that no change is missed in between. `replied` finds the changes that came while the reply was on
/// its way.
///
/// `collect` marks changes on the nodes, in any thread. `deliver` tells the kernel of them, in one thread that answers
/// no requests. So a new answer takes all marks into account, but an answer that the kernel has cached stays wrong
/// until `deliver` runs. The kernel may keep no answer about an entry that changed within the last two seconds
/// (Attributes::recent). So if an entry changes again within two seconds, no further cached answer becomes wrong.
///
/// The number of waiting notices about names is bounded (limits::kLiveNotices), and so is the number of changes that
/// one call reads (HostWatcher::collect). Until all changes are marked, the kernel may keep no new answer. Notices are
/// lost if there are too many or if memory is short. Then `deliver` marks everything, and tells the kernel to ask for
/// it anew, as after an overflow of inotify. If several changes were lost before the call, it does this only once.
class LiveChanges {
 public:
  /// How many changes had been collected at a moment. `replied` and `kept_file` compare this number with the present
  /// one.
  using ChangeCount = std::uint64_t;

  /// Both must outlive this.
  LiveChanges(LiveNodes& nodes, LiveLayers& layers);
  ~LiveChanges() = default;
  LiveChanges(const LiveChanges&) = delete;
  LiveChanges& operator=(const LiveChanges&) = delete;

  /// From now on, `begin` watches directories. This object calls `wake`, in any thread, when there is something to
  /// deliver. Call `start` only once; other threads may answer requests meanwhile.
  void start(std::unique_ptr<HostWatcher> watcher, std::function<void()> wake);
  /// Null before `start`.
  [[nodiscard]] const HostWatcher* watcher() const { return watcher_.load(std::memory_order_acquire); }

  /// Call it before you ask the host. `dir` is the directory of whose entries you ask; 0 if you ask for anything else.
  /// Allocates the memory that this thread's next call of `replied` or `listed` may need. Pass the result to `replied`.
  [[nodiscard]] ChangeCount begin(Inode dir = 0);
  struct EntryTrust {
    Trust entry = Trust::kShort;
    Trust attributes = Trust::kShort;
  };
  /// Call it before a reply that says that `dir` has the entry `found`.
  [[nodiscard]] EntryTrust told_entry(Inode dir, const Entry& found);
  /// Call it before a reply that says that `dir` has no entry `name`. `attributes` are those of `dir`.
  [[nodiscard]] Trust told_absent(Inode dir, const Attributes& attributes, std::string_view name);
  /// Call it before a reply with the attributes of `inode`.
  [[nodiscard]] Trust told_attributes(Inode inode, const Attributes& attributes);
  /// Call it after the reply. If the reply was about a name of `dir` that is absent or a symbolic link, pass `dir` and
  /// `name`. Do the same if the tree was replaced since `before` and the name leads elsewhere now. Otherwise pass an
  /// empty `name`, and as `inode` the entry that the reply was about: a notice about a name detaches what is mounted
  /// there. The call accesses no node: the kernel may have forgotten it, and then it is deleted.
  void replied(ChangeCount before, Inode dir, std::string_view name, Inode inode) noexcept;

  /// Whether the tree may be replaced while it is mounted.
  [[nodiscard]] bool tree_is_replaceable() const { return layers_.are_replaceable(); }
  /// Whether the tree was replaced since then.
  [[nodiscard]] bool tree_was_replaced_since(ChangeCount before) const {
    return (change_count_.load(std::memory_order_acquire) ^ before) >= kReplacement;
  }

  /// Whether the last answer about `inode` still holds if the host now shows the attributes `now`. For a directory, the
  /// number and the type must be the same; for any other entry, also the size and the time.
  [[nodiscard]] bool is_as_told(Inode inode, const Attributes& now);
  /// Whether the name of `inode` leads to another file now, or to an entry of another type.
  [[nodiscard]] bool was_replaced(Inode inode, const Attributes& now);
  /// Whether `inode` stands for an entry of this type. The answer never changes: if its name gets an entry of another
  /// type, that has another inode. True for each inode of an immutable layer.
  [[nodiscard]] static bool is_of_type(Inode inode, FileType type);
  /// Takes a reference to a live `inode` that the kernel knows; FileSystem::forget returns it. Does nothing for an
  /// inode of an immutable layer.
  void hold(Inode inode);
  /// Whether the kernel may keep the pages of a file, or the listing of a directory, that it cached before this call.
  /// If it may have cached them before the directory was watched, queues a notice that drops them.
  [[nodiscard]] bool may_keep(Inode inode, const Attributes& now);
  /// Whether the directory is watched, so that the kernel may cache a listing of it.
  [[nodiscard]] bool is_watched(Inode dir) const;
  /// The open file of `inode` that `keep_file` got, if the host has reported no change since; else null. `before` is
  /// the result of `begin` for this request.
  [[nodiscard]] std::shared_ptr<OpenFile> kept_file(Inode inode, ChangeCount before) const;
  /// Whether every change that lets the path of a file lead elsewhere is reported. Ask after `begin` and before you
  /// open the file.
  [[nodiscard]] bool is_path_watched(Inode file) const;
  /// Keeps an open file for `kept_file`. Its path must have been watched before it was opened (`is_path_watched`).
  /// `before` is the result of `begin` for this request, `open` the number of live files that programs have open.
  void keep_file(Inode inode, ChangeCount before, std::shared_ptr<OpenFile> file, std::size_t open);
  /// Closes the files that `kept_file` wouldn't return. Returns whether others are left. For the thread of `deliver`.
  [[nodiscard]] bool end_old_files() noexcept;
  /// Call it before you read content of `file` for a reply. The kernel may cache that content, so the next change of
  /// the file needs a notice.
  void reading(Inode file);
  /// Call `begin_listing` before a reply with a listing of `dir`, and `listed` after it.
  [[nodiscard]] ChangeCount begin_listing(Inode dir);
  void listed(ChangeCount before, Inode dir) noexcept;

  /// Makes LiveNodes replace contents, and queues what the kernel must be told of that: all names that lead elsewhere,
  /// `vanished` ones, and the directories themselves. Throws only if nothing has changed. False, and `anyway`: as
  /// LiveNodes::replace.
  [[nodiscard]] bool replace(LiveReplacement& replacement, const std::vector<Notice>& vanished, bool anyway);

  /// Queues notices that make the kernel forget entries below those that no path leads to any more. Call it after
  /// `replace`, and again some time later. The kernel keeps the entries that were in use at that moment, until memory
  /// is short, and so would this process keep their layers.
  void drop_lost() noexcept;

  /// Marks the changes that the host has reported.
  void collect() noexcept;
  /// Calls `send`, which must not throw, for each notice of the changes since the last call. False: call it again soon,
  /// because memory was short or more changes were lost during the call. Only one thread may use it.
  bool deliver(FunctionRef<void(const Notice&)> send) noexcept;

 private:
  /// Seconds after which a directory that couldn't be watched is tried again.
  static constexpr std::int64_t kTryAgain = 10;
  /// What the replacement of the tree adds to `change_count_`. There are never that many other changes.
  static constexpr ChangeCount kReplacement = ChangeCount{1} << 48U;
  /// Seconds since the machine started, never 0.
  [[nodiscard]] static std::int64_t now();
  void mark(const HostChange& change);
  void mark_node(LiveNode& node);
  void mark_entry(LiveNode& dir, std::string_view name, bool other_entry);
  /// Marks every node, and queues the names that the kernel may know. Only for `deliver`: it takes long, and adds
  /// several notices for each node.
  void mark_everything();
  /// Queues the node itself. True: the caller must take a reference for the queue before it releases the mutex of the
  /// nodes.
  [[nodiscard]] bool queue(LiveNode& node);
  [[nodiscard]] bool queue(Inode inode, std::string_view name, std::size_t most);
  /// The next `deliver` tells everything: the host lost changes, or a notice couldn't be queued.
  void lose() noexcept { losses_.fetch_add(1, std::memory_order_acq_rel); }
  [[nodiscard]] bool has_untold_losses() const {
    return losses_.load(std::memory_order_acquire) != told_losses_.load(std::memory_order_acquire);
  }
  /// Whether there are changes that are neither marked nor on their way to the kernel.
  [[nodiscard]] bool is_behind() const;
  /// Lets the listeners of names look at the host (NameListener). Only for `deliver`.
  void ask_listeners() noexcept;
  /// The part of `replace` that may throw when all has changed.
  void queue_replaced(const LiveReplacement& replacement, const std::vector<Notice>& vanished);
  void send_queued(FunctionRef<void(const Notice&)> send) noexcept;
  void ensure_watched(LiveNode& dir);
  [[nodiscard]] bool changed_recently(const LiveNode& dir) const;
  [[nodiscard]] Trust trust(const LiveNode& node, const Attributes& attributes) const;
  /// The number (Attributes::number) of `inode` in the last answer about it; 0 if there was none.
  [[nodiscard]] std::uint64_t told_number(Inode inode);
  void note_told(LiveNode& node, const Attributes& attributes);

  LiveNodes& nodes_;
  LiveLayers& layers_;
  std::unique_ptr<HostWatcher> owned_;
  std::atomic<HostWatcher*> watcher_{nullptr};
  std::function<void()> wake_;
  std::atomic<ChangeCount> change_count_{0};
  std::atomic<bool> limit_told_{false};        // a warning about the limit of watches was logged
  std::atomic<bool> unsupported_told_{false};  // a warning about a directory that can't be watched was logged
  Mutex mutex_;  // for `told` and `absent` of all nodes; its holder takes no other mutex but that of the queue
  std::atomic<std::uint64_t> losses_{0};
  std::atomic<std::uint64_t> told_losses_{0};  // `losses_` when `deliver` last began to tell everything
  NoticeQueue queue_;                          // an item with a node holds a reference to it
  KeptFiles kept_;
};

}  // namespace pkgfs::vfs
