// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/vfs/file_system.h"
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

/// A path at which a live layer has something, or several layers are merged. Its address is its inode. Nothing in it
/// changes once other threads can see it, except what LiveNodes guards.
struct LiveNode {
  /// An entry of a layer that takes part.
  struct Part {
    std::uint32_t layer = 0;
    Inode inode = 0;  // in that layer; holds a reference if the layer is live
  };
  LiveNode* parent = nullptr;  // this node holds a reference to it; null for the root
  std::string name;
  std::uint64_t number = kRootNumber;
  FileType type = FileType::kDirectory;
  std::vector<Part> parts;
  std::size_t winner = 0;  // of `parts`: has the attributes
  bool mount_ancestor = false;
  std::string link;  // the text of a symbolic link

 private:
  friend class LiveNodes;
  // Guarded by the mutex of LiveNodes.
  std::uint64_t references = 0;
  std::map<std::string, LiveNode*, std::less<>> children;  // those that a look-up finds now
  std::deque<std::shared_ptr<const LiveListing>> listings;
};

/// The nodes of a LiveOverlayFileSystem: a tree in which each node lives as long as it is referenced, by look-ups or by
/// its children. Thread-safe. No layer is called with the mutex held.
class LiveNodes {
 public:
  /// `layers` must outlive this.
  explicit LiveNodes(const std::vector<Layer>& layers) : layers_(layers) {}
  /// Releases all nodes, the referenced ones too.
  ~LiveNodes();
  LiveNodes(const LiveNodes&) = delete;
  LiveNodes& operator=(const LiveNodes&) = delete;

  [[nodiscard]] LiveNode& root() { return root_; }
  [[nodiscard]] const LiveNode& root() const { return root_; }
  /// Adds `fresh` below its parent and takes a reference to it. If the same entry is known already, takes a reference
  /// to that one instead and drops `fresh`.
  [[nodiscard]] LiveNode& add(std::unique_ptr<LiveNode> fresh);
  /// Returns `count` references. The root has none.
  void forget(LiveNode& node, std::uint64_t count);
  /// Returns the reference that `part` holds, if it holds one.
  void release(const LiveNode::Part& part) const;

  /// Gives `listing` its generation and keeps it for readers that go on with it later; the oldest are dropped.
  void keep_listing(LiveNode& directory, const std::shared_ptr<LiveListing>& listing);
  /// The listing of that generation (its low 30 bits); null if it isn't kept any more.
  [[nodiscard]] std::shared_ptr<const LiveListing> find_listing(const LiveNode& directory, std::uint64_t generation);

 private:
  const std::vector<Layer>& layers_;
  Mutex mutex_;  // for the counts, children and listings of all nodes
  LiveNode root_;
};

/// The path of `node` in the overlay.
[[nodiscard]] std::string path_of(const LiveNode& node);

}  // namespace pkgfs::vfs
