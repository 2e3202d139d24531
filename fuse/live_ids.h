// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/function_ref.h"
#include "core/base/thread_annotations.h"
#include "core/vfs/file_system.h"
#include "fuse/live_journal.h"

namespace pkgfs::fuse {

/// A node id leads to no entry any more. The operation answers with this errno: after ESTALE, the kernel looks the path
/// up anew.
struct StaleNode {
  int error = ESTALE;
};

/// The kernel's node ids for the inodes of a tree with live directories. Those inodes mean something to one daemon
/// only. A node id also means something to its successor: the journal says below which directory it was found, and
/// under which name. The successor looks that name up when the kernel first uses the id. If the name leads to another
/// entry by then, or to none, the id is stale for ever.
///
/// Counts the kernel's references. A killed daemon may have counted one too many, never one too few; such a node stays
/// until the unmount. If the journal is full, further nodes get ids that only this daemon understands; the log says so
/// once. Thread-safe. No lock is held while the tree is asked.
class LiveIds {
 public:
  /// Both must outlive this. Takes over the nodes that the journal has.
  LiveIds(vfs::FileSystem& fs, LiveJournal& journal);
  ~LiveIds();
  LiveIds(const LiveIds&) = delete;
  LiveIds& operator=(const LiveIds&) = delete;

  /// Whether new ids get places in the journal. Not as long as the daemon before may go on instead of this one
  /// (upgrade): that one would give the same places to others. True at the beginning.
  void use_places(bool use) { uses_places_ = use; }

  /// The inode of an id that the kernel has sent. Throws StaleNode. Takes no lock, unless the id is of an earlier
  /// daemon and wasn't used since.
  [[nodiscard]] vfs::Inode inode(std::uint64_t id) PKGFS_EXCLUDES(mutex_);
  /// The id to tell the kernel, which gets one reference. `found` is the entry `name` of the directory `parent` (an
  /// id); takes over its reference, also if it throws std::bad_alloc.
  [[nodiscard]] std::uint64_t tell(std::uint64_t parent, std::string_view name, const vfs::Entry& found)
      PKGFS_EXCLUDES(mutex_);
  /// The kernel has returned references, or hasn't taken the reply with one.
  void forget(std::uint64_t id, std::uint64_t count) noexcept PKGFS_EXCLUDES(mutex_);
  /// The id of an inode; 0: the kernel doesn't know it.
  [[nodiscard]] std::uint64_t find(vfs::Inode inode) const PKGFS_EXCLUDES(mutex_);

  /// Whether the kernel may have cached content from the time before this daemon, whose changes aren't known. The
  /// second call for an id answers no: the caller makes the kernel drop that content.
  [[nodiscard]] bool has_old_content(std::uint64_t id) PKGFS_EXCLUDES(mutex_);
  struct Restored {
    std::uint64_t id = 0;
    std::uint64_t parent = 0;  // an id
    std::string name;
  };
  /// The nodes of the daemon before, which the kernel is to be told of: all may have changed.
  [[nodiscard]] std::vector<Restored> take_restored() PKGFS_EXCLUDES(mutex_);

 private:
  struct Node;
  using Name = std::pair<std::uint64_t, std::string>;
  struct Freed {
    vfs::Inode inode;
    std::uint64_t references;
  };

  void restore() PKGFS_REQUIRES(mutex_);
  /// Null: no such id is known.
  [[nodiscard]] Node* node(std::uint64_t id) const PKGFS_REQUIRES(mutex_);
  [[nodiscard]] vfs::Inode resolve(std::uint64_t id) PKGFS_EXCLUDES(mutex_);
  void find_again(std::uint64_t id, Node& node, vfs::Inode parent) PKGFS_EXCLUDES(mutex_);
  [[nodiscard]] LiveJournal::Node describe(std::string_view name, const vfs::Entry& found) const;
  [[nodiscard]] std::uint64_t add(std::uint64_t parent, LiveJournal::Node what, vfs::Inode inode)
      PKGFS_REQUIRES(mutex_);
  void forget_name(std::uint64_t id, const Node& node) PKGFS_REQUIRES(mutex_);
  void add_reference(std::uint64_t id, Node& node) PKGFS_REQUIRES(mutex_);
  [[nodiscard]] std::atomic<std::uint64_t>& count_of(std::uint64_t id, Node& node) const PKGFS_REQUIRES(mutex_);

  vfs::FileSystem& fs_;
  LiveJournal& journal_;
  mutable Mutex mutex_;
  // By place in the journal. Changes under the mutex, but is read without: the kernel uses no id that it has forgotten.
  std::unique_ptr<std::atomic<Node*>[]> placed_;
  std::uint32_t fresh_ PKGFS_GUARDED_BY(mutex_) = 0;  // no place from this one on was used
  std::vector<std::uint32_t> free_ PKGFS_GUARDED_BY(mutex_);
  std::unordered_map<std::uint64_t, std::unique_ptr<Node>> beyond_ PKGFS_GUARDED_BY(mutex_);
  std::unordered_map<vfs::Inode, std::uint64_t> ids_ PKGFS_GUARDED_BY(mutex_);
  std::multimap<Name, std::uint64_t> unresolved_ PKGFS_GUARDED_BY(mutex_);  // of the daemon before
  std::vector<Restored> restored_ PKGFS_GUARDED_BY(mutex_);
  std::atomic<bool> uses_places_{true};
  bool is_full_ PKGFS_GUARDED_BY(mutex_) = false;
};

}  // namespace pkgfs::fuse
