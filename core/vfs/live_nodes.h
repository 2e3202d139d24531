// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/function_ref.h"
#include "core/base/thread_annotations.h"
#include "core/vfs/file_system.h"
#include "core/vfs/live_layers.h"
#include "core/vfs/merge.h"
#include "core/vfs/path_text.h"

namespace pkgfs::vfs {

/// The entries of a directory at one moment.
struct LiveListing {
  struct Item {
    std::string name;
    int error;
    Attributes attributes;
  };
  std::uint64_t generation = 0;  // tells the kept listings of one directory apart
  std::vector<Item> items;
};

/// What the kernel knows of a node, and what changed since (LiveChanges).
struct LiveKnowledge {
  /// The attributes by which LiveChanges sees that an entry has changed.
  struct Told {
    std::uint64_t number = 0;
    std::uint64_t size = 0;
    std::int64_t modified = 0;
    std::uint32_t modified_ns = 0;
    FileType type = FileType::kFile;

    bool operator==(const Told&) const = default;
  };
  enum class Watch : std::uint8_t { kUntried, kWatched, kUnwatched };
  static constexpr std::uint64_t kNever = ~std::uint64_t{0};

  // Of a directory.
  std::atomic<Watch> watch{Watch::kUntried};
  std::atomic<bool> watching{false};          // a thread is about to watch it
  std::atomic<std::int64_t> tried_at{0};      // when watching was tried, in seconds of the monotonic clock
  std::atomic<std::int64_t> changed_at{0};    // when an entry last came or went; 0: long ago
  std::set<std::string, std::less<>> absent;  // names that the kernel may believe to be absent; guarded by LiveChanges

  std::atomic<std::uint64_t> version{0};     // grows with each change
  std::atomic<std::uint64_t> clean{kNever};  // the kernel caches no content older than this `version`; kNever: unknown
  std::atomic<bool> queued{false};           // a notice is on its way
  std::atomic<bool> told_since{true};        // the kernel was told something since the last notice
  std::atomic<bool> entry_changed{false};    // the name may lead to another entry
  std::optional<Told> told;                  // guarded by LiveChanges
};

/// The entries that a node shows.
struct LiveContent {
  /// An entry of one layer, which the node shows or merges.
  struct Part {
    std::uint32_t layer = 0;
    Inode inode = 0;  // in that layer; holds a reference if the layer is live
  };
  std::vector<Part> parts;  // each is a user of its layer (LiveLayers)
  std::size_t winner = 0;   // index in `parts`: this one has the attributes
  std::uint64_t number = kRootNumber;
  std::uint64_t generation = 0;  // of the winner (Entry::generation)
  bool mount_ancestor = false;
};

/// A path at which a live layer has an entry, or at which several layers are merged. Its address is its inode. Nothing
/// in it changes once other threads can see it, except what LiveNodes and LiveChanges guard.
struct LiveNode {
  LiveNode* parent = nullptr;  // this node holds a reference to it; null for the root
  std::string name;
  FileType type = FileType::kDirectory;
  std::string link;   // the text of a symbolic link
  LiveContent first;  // the content until the tree is replaced
  LiveKnowledge known;

  /// Valid as long as the caller keeps a `LiveLayers::use` that it took before. Only that of a directory changes.
  [[nodiscard]] const LiveContent& content() const { return *content_.load(std::memory_order_acquire); }

 private:
  friend class LiveNodes;
  std::atomic<const LiveContent*> content_{&first};
  // Guarded by the mutex of LiveNodes.
  std::unique_ptr<const LiveContent> later_;  // the content since the tree was replaced
  std::uint64_t references = 0;
  std::map<std::string, LiveNode*, std::less<>> children;  // those that a look-up finds now
  std::deque<std::shared_ptr<const LiveListing>> listings;
};

/// What the replacement of a tree changes for its nodes.
struct LiveReplacement {
  struct Directory {
    LiveNode* node = nullptr;
    std::unique_ptr<const LiveContent> content;
    std::set<const LiveNode*> kept;  // the children that stay what they are; all others go
    std::set<const LiveNode*> seen;  // the children that `kept` was decided of
  };
  std::vector<Directory> directories;
  std::vector<LiveNode*>
      gone;  // `LiveNodes::replace` adds the children whose names lead elsewhere; they get references
};

/// The nodes of a LiveOverlayFileSystem: a tree in which each node lives as long as it is referenced, by look-ups or by
/// its children. Thread-safe. No layer is called with the mutex held.
class LiveNodes {
 public:
  /// `layers` must outlive this.
  explicit LiveNodes(LiveLayers& layers) : layers_(layers) {}
  /// Releases all nodes, the referenced ones too.
  ~LiveNodes();
  LiveNodes(const LiveNodes&) = delete;
  LiveNodes& operator=(const LiveNodes&) = delete;

  [[nodiscard]] LiveNode& root() { return root_; }
  [[nodiscard]] const LiveNode& root() const { return root_; }
  /// Adds `fresh` below its parent and takes a reference to it. If the same entry is known already, takes a reference
  /// to that one instead and drops `fresh`. `looked_up_in` is the content of the parent in which `fresh` was found. If
  /// the parent has another content now, drops `fresh` and returns null: the caller looks the name up again.
  [[nodiscard]] LiveNode* add(std::unique_ptr<LiveNode> fresh, const LiveContent& looked_up_in);
  /// Whether both are the same entry, as `add` decides. `fresh` isn't added.
  [[nodiscard]] static bool are_same(const LiveNode& known, const LiveNode& fresh);
  /// Returns `count` references. The root has none.
  void forget(LiveNode& node, std::uint64_t count);
  /// Returns what the parts hold: a reference in each live layer, and a user of each layer.
  void release(const std::vector<LiveContent::Part>& parts) const;

  /// Returns the children that look-ups find now, with a reference to each.
  [[nodiscard]] std::vector<LiveNode*> hold_children(const LiveNode& directory);
  /// Gives directories other contents, all at once. The caller holds a reference to each of them, and to each of the
  /// kept children. The old contents are released when no operation uses them any more. `now`:
  /// LiveKnowledge::changed_at. False: a look-up has added a child that isn't `seen`, and nothing has changed. With
  /// `anyway`, such a child goes instead.
  [[nodiscard]] bool replace(LiveReplacement& replacement, std::int64_t now, bool anyway);

  /// `dropped` is called before a directory's node is deleted, with no lock held. To be set before there are nodes.
  void on_dropped(std::function<void(const LiveNode&)> dropped) { dropped_ = std::move(dropped); }
  /// Calls `visit` for the node, with the mutex held. If `visit` answers true, takes a reference to the node for the
  /// caller. Does nothing if the node has no reference any more, and so is about to be deleted.
  void visit(LiveNode& node, FunctionRef<bool(LiveNode&)> visit);
  /// The same for the node that a look-up of `name` in `dir` finds now, if there is one.
  void visit_child(const LiveNode& dir, std::string_view name, FunctionRef<bool(LiveNode&)> visit);
  /// The same for the root and every node that look-ups find now.
  void visit_all(FunctionRef<bool(LiveNode&)> visit);

  /// Calls `visit`, with the mutex held, for each node below one that look-ups don't find any more.
  void visit_lost(FunctionRef<void(const LiveNode&)> visit);

  /// Gives `listing` its generation and keeps it for readers that continue it later. Drops the oldest one, if the
  /// directory has too many.
  void keep_listing(LiveNode& directory, const std::shared_ptr<LiveListing>& listing);
  /// The listing of that generation (its low 30 bits); null if it isn't kept any more.
  [[nodiscard]] std::shared_ptr<const LiveListing> find_listing(const LiveNode& directory, std::uint64_t generation);

 private:
  LiveLayers& layers_;
  std::function<void(const LiveNode&)> dropped_;
  Mutex mutex_;                                            // for the counts, children and listings of all nodes
  std::set<LiveNode*> replaced_ PKGFS_GUARDED_BY(mutex_);  // another entry has their name; the kernel still knows them
  LiveNode root_;
};

/// True for an inode of the overlay that isn't the address of a LiveNode: it comes from a single layer that never
/// changes.
[[nodiscard]] inline bool is_handed_through(Inode inode) { return (inode & 1U) != 0; }
/// The node with that address.
[[nodiscard]] inline LiveNode& node_of(Inode inode) {
  return *reinterpret_cast<LiveNode*>(inode);  // NOLINT(performance-no-int-to-ptr)
}
[[nodiscard]] inline Inode inode_of(const LiveNode& node) { return reinterpret_cast<Inode>(&node); }
/// The path of `node` in the overlay.
[[nodiscard]] std::string path_of(const LiveNode& node);

}  // namespace pkgfs::vfs
