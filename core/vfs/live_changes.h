// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/function_ref.h"
#include "core/base/thread_annotations.h"
#include "core/vfs/file_system.h"
#include "core/vfs/host_watcher.h"
#include "core/vfs/live_nodes.h"
#include "core/vfs/merge.h"

namespace pkgfs::vfs {

/// How long a cache above may keep an answer about a live entry.
enum class Trust : std::uint8_t {
  kNone,     // ask again each time: the entry changed a moment ago, and changes come in bursts
  kShort,    // for the time that the user allows: nothing reports changes
  kWatched,  // until a notice comes
};

/// What a cache above must drop. With a name: what it knows of the entry `name` of directory `inode`, also that there
/// is none. Without: the attributes and the content of `inode`.
struct Notice {
  Inode inode = 0;
  std::string name;
};

/// What the kernel knows of the entries of a LiveOverlayFileSystem, and what changed since. Thread-safe.
///
/// An answer about a live entry goes through four steps: `begin`, asking the file system, one of the `told` functions,
/// and, when the kernel has the reply, `replied`. `begin` watches the directory before the host is asked, so that no
/// change falls in between; `replied` finds the changes that came while the reply was on its way.
///
/// Changes are marked on the nodes by `collect`, in any thread, and told to the kernel by `deliver`, in one thread that
/// answers no requests. So a request that the kernel sends always finds the marks; an answer that the kernel has
/// cached is wrong until `deliver` has told it. Nothing is kept that changed within the last two seconds
/// (Attributes::recent), so that this concerns only the first change after a pause.
class LiveChanges {
 public:
  using Mark = std::uint64_t;

  /// Both must outlive this.
  LiveChanges(LiveNodes& nodes, const std::vector<Layer>& layers);
  ~LiveChanges() = default;
  LiveChanges(const LiveChanges&) = delete;
  LiveChanges& operator=(const LiveChanges&) = delete;

  /// From now on directories are watched. `wake` is called, by any thread, when there is something to deliver. Once;
  /// requests may be answered meanwhile.
  void start(std::unique_ptr<HostWatcher> watcher, std::function<void()> wake);
  /// Null before `start`.
  [[nodiscard]] const HostWatcher* watcher() const { return watcher_.load(std::memory_order_acquire); }

  /// Before the host is asked for entries of `dir`, or (0) for anything else.
  [[nodiscard]] Mark begin(Inode dir = 0);
  struct EntryTrust {
    Trust entry = Trust::kShort;
    Trust attributes = Trust::kShort;
  };
  /// Before the reply that `dir` has `found` as `name`.
  [[nodiscard]] EntryTrust told_entry(Inode dir, const Entry& found);
  /// Before the reply that `dir`, with these attributes, has no `name`.
  [[nodiscard]] Trust told_absent(Inode dir, const Attributes& attributes, std::string_view name);
  /// Before a reply with the attributes of `inode`.
  [[nodiscard]] Trust told_attributes(Inode inode, const Attributes& attributes);
  /// After the reply. `name` is that of an entry of `dir` that was absent or a symbolic link; else `inode` is what the
  /// reply was about. None of them is accessed.
  void replied(Mark mark, Inode dir, std::string_view name, Inode inode);

  /// Whether `inode`, which is `now` on the host, is what was told last: the same entry, and for a file the same size
  /// and time.
  [[nodiscard]] bool is_as_told(Inode inode, const Attributes& now);
  /// Whether the name of `inode` leads to another file now, or to an entry of another type.
  [[nodiscard]] bool was_replaced(Inode inode, const Attributes& now);
  /// Whether the kernel knows `inode` as an entry of this type.
  [[nodiscard]] static bool is_of_type(Inode inode, FileType type);
  /// The number (Attributes::number) of the entry that `inode` was when it was last told; 0 if it wasn't.
  [[nodiscard]] std::uint64_t told_number(Inode inode);
  /// Whether the kernel may keep the pages of a file, or the listing of a directory, that it has from before.
  [[nodiscard]] bool may_keep(Inode inode, const Attributes& now);
  /// Whether the directory is watched, so that a listing may be kept later.
  [[nodiscard]] bool is_watched(Inode dir) const;
  /// Before content of the file is read for a reply.
  void reading(Inode file);
  /// Around a reply with a listing of `dir`.
  [[nodiscard]] Mark begin_listing(Inode dir);
  void listed(Mark mark, Inode dir);

  /// Marks the changes that the host has reported.
  void collect();
  /// Calls `send` for what was changed since the last call. Only one thread may use it.
  void deliver(FunctionRef<void(const Notice&)> send);

 private:
  struct Item {
    LiveNode* node = nullptr;  // holds a reference; null: the notice is sent as it is
    Notice notice;
  };
  void mark(const HostChange& change);
  void mark_node(LiveNode& node);
  void mark_entry(LiveNode& dir, std::string_view name, bool other_entry);
  void mark_everything();
  /// Queues the node itself; true: for that a reference must be taken, with the mutex of the nodes still held.
  [[nodiscard]] bool queue(LiveNode& node);
  void queue(Notice notice);
  void ensure_watched(LiveNode& dir);
  [[nodiscard]] bool changed_recently(const LiveNode& dir) const;
  [[nodiscard]] Trust trust(const LiveNode& node, const Attributes& attributes) const;
  void note_told(LiveNode& node, const Attributes& attributes);

  LiveNodes& nodes_;
  const std::vector<Layer>& layers_;
  std::unique_ptr<HostWatcher> owned_;
  std::atomic<HostWatcher*> watcher_{nullptr};
  std::function<void()> wake_;
  std::atomic<Mark> events_{0};
  std::atomic<bool> limit_told_{false};        // the user was warned of it
  std::atomic<bool> unsupported_told_{false};  // the same
  Mutex watch_mutex_;                          // held while a directory is being watched
  Mutex mutex_;                                // for `told` and `absent` of all nodes; no other lock is taken with it
  Mutex queue_mutex_;
  std::vector<Item> queue_ PKGFS_GUARDED_BY(queue_mutex_);
};

}  // namespace pkgfs::vfs
