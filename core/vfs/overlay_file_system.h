// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/vfs/directory_cache.h"
#include "core/vfs/file_system.h"
#include "core/vfs/merge.h"
#include "core/vfs/overlay_merger.h"
#include "core/vfs/overlay_node.h"

namespace pkgfs::vfs {

/// Shows several layers as one tree: the first layer wins, directories merge (merge.h). The layers never change.
///
/// The first access to a directory merges it, under one of a few locks, into one array of nodes sorted by name. After
/// that, `lookup` is a binary search, `metadata` a load and `read_dir` a loop. They take no lock, allocate nothing and
/// call no layer. Only in a directory of thousands of entries do they read the layer, too (LargeDirectory). Names and
/// link texts stay in the memory of the layer that they come from. If a file may be a program (executables.h), each
/// `lookup` and `metadata` of it reads its first bytes.
///
/// The upper bits of an inode are the number of the directory that has the entry. The lower bits are the entry's
/// position in that directory. So the same tree has the same inodes in every process (`fingerprint`), and inodes need
/// no memory: `forget` does nothing. DirectoryCache finds a merged directory by its number. An evicted directory is
/// merged again at its next use. If the cache doesn't know a number, the layer to which the number belongs tells the
/// path (`path_of_number`). Then the directories on that path are merged.
class OverlayFileSystem : public FileSystem {
 public:
  enum class Inodes {
    kStable,     // as described; a tree with 2^31 numbers or more has kAddresses instead
    kAddresses,  // of the nodes: even numbers below 2^48, for the life of this object; no directory is evicted
  };
  /// `layers` in order of precedence, at least one, each with a directory as root. None may be live.
  /// Throws Error(kIo) if the root of a layer can't be read now.
  OverlayFileSystem(std::vector<Layer> layers, const OverlayOptions& options, Inodes inodes = Inodes::kStable);
  ~OverlayFileSystem() override;

  [[nodiscard]] Inode root() const final;
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) final;
  [[nodiscard]] Result<Attributes> metadata(Inode inode) final;
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) final;
  [[nodiscard]] Result<std::uint64_t> parent_number(Inode dir) final;
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) final;
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode inode) final;
  [[nodiscard]] Result<Extent> extent(Inode inode) final;
  [[nodiscard]] Result<Place> place(Inode inode) final;
  [[nodiscard]] bool is_immutable() const final;
  [[nodiscard]] bool is_intact(Inode inode) final;
  [[nodiscard]] Result<Origin> origin(Inode inode) final;
  [[nodiscard]] std::uint64_t fingerprint() const final;

  /// Merges every directory and returns the conflicts found. Skips directories that can't be listed.
  [[nodiscard]] std::vector<OverlayConflict> visit_all();

 private:
  [[nodiscard]] static Attributes attributes(const OverlayNode& node);
  /// Completes the mode of `file`, which may be a program. Suspends the caller's ReadSection while it reads the file.
  /// EIO; nothing is kept of it, so the next call tries again.
  [[nodiscard]] Result<void> read_mode(const OverlayPart& file, Attributes& attributes) const;
  /// The node of `inode`, which may be stored in `room`. If no entry has the inode, the node has the error ESTALE and
  /// no holder (OverlayNode::holder). Valid while the caller is in its ReadSection, as all nodes and contents are.
  [[nodiscard]] const OverlayNode& find(Inode inode, OverlayRoom& room);
  /// The same for an inode whose directory isn't merged. Suspends the caller's ReadSection for a time, so earlier
  /// pointers become invalid.
  [[nodiscard]] const OverlayNode& find_unmerged(Inode inode, OverlayRoom& room);
  /// The way from a merged directory down to an entry, over directories that aren't merged.
  struct Way {
    const OverlayContent* merged = nullptr;  // null: it wasn't found
    int error = 0;                           // then: why
    std::vector<Inode> chain;                // of the directories, the lowest first; the last is an entry of `merged`
  };
  [[nodiscard]] Way way_to(Inode inode);
  /// The directory that has `inode`, after merging what isn't merged on the way to it. ESTALE: none has it.
  [[nodiscard]] Result<const OverlayContent*> directory_of(Inode inode);
  /// The node of `inode`, an entry of `content`. If `content` has no such entry, a node with an error.
  [[nodiscard]] static const OverlayNode& entry(const OverlayContent& content, Inode inode, OverlayRoom& room);
  /// The inode of the directory with this number, found through its path. ESTALE if no directory has it.
  [[nodiscard]] Result<Inode> find_directory(std::uint64_t number);
  /// The inode of `node`, which is `content`'s entry `index`.
  [[nodiscard]] Inode to_inode(const OverlayContent& content, std::size_t index, const OverlayNode& node) const;
  /// The entries of the directory `node`, whose inode is `inode`.
  [[nodiscard]] Result<const OverlayContent*> content(const OverlayNode& node, Inode inode);
  [[nodiscard]] Result<const OverlayContent*> merge(const OverlayNode& node, Inode inode);
  /// Whether the layers that have the directory `node` are as they were when they were opened.
  [[nodiscard]] bool parts_are_intact(const OverlayNode& node) const;
  /// Checks the names that the caller used: those of the entries from index `from` to `end` of `content`, which has the
  /// entries of `dir`. EIO if one may have been wrong. `before`: lost_pages::events() before the caller used them.
  [[nodiscard]] Result<void> confirm_names(const OverlayNode& dir, const OverlayContent& content, std::size_t from,
                                           std::size_t end, std::uint64_t before) const;
  /// Called if `OverlayContent::find` didn't find `name` in `content`, the entries of `dir`. Searches all names again,
  /// in case lost pages misled the first search. If it finds the entry, returns it and its index. Otherwise ENOENT, or
  /// EIO if names may be lost or changed.
  [[nodiscard]] Result<const OverlayNode*> confirm_absence(const OverlayNode& dir, const OverlayContent& content,
                                                           std::string_view name, std::size_t& index) const;

  std::vector<Layer> layers_;
  OverlayOptions options_;
  bool stable_;
  OverlayMerger merger_;
  OverlayContent top_;  // the root, as if it were the entry of a directory numbered 0
  OverlayNode& root_;
  DirectoryCache cache_;

  static constexpr std::size_t kMergeLocks = 16;
  std::array<Mutex, kMergeLocks> merge_locks_;  // one is held during a merge; the directory's number chooses it
};

}  // namespace pkgfs::vfs
