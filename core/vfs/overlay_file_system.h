// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/vfs/file_system.h"
#include "core/vfs/merge.h"
#include "core/vfs/overlay_merger.h"
#include "core/vfs/overlay_node.h"

namespace pkgfs::vfs {

/// Shows several layers as one tree: the first layer wins, directories merge (merge.h). The layers never change.
///
/// The first access to a directory merges it, under one of a few locks, into one array of nodes sorted by name. After
/// that, `lookup` is a binary search, `metadata` a load and `read_dir` a loop. They take no lock, allocate nothing and
/// call no layer. An inode is the address of its node. Nodes live as long as the file system, so `forget` does nothing.
/// Names and link texts stay in the memory of the layer that they come from.
class OverlayFileSystem : public FileSystem {
 public:
  /// `layers` in order of precedence, at least one, each with a directory as root. None may be live.
  OverlayFileSystem(std::vector<Layer> layers, const OverlayOptions& options);
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
  [[nodiscard]] Result<Origin> origin(Inode inode) final;

  /// The path of `inode` in this tree. Slow.
  [[nodiscard]] std::string path_of(Inode inode) const;
  /// Merges every directory and returns the conflicts found. Skips directories that can't be listed.
  [[nodiscard]] std::vector<OverlayConflict> visit_all();

 private:
  [[nodiscard]] static Attributes attributes(const OverlayNode& node);
  [[nodiscard]] Result<const OverlayContent*> content(const OverlayNode& node);
  [[nodiscard]] const OverlayContent* merge(OverlayDirectory& dir);

  std::vector<Layer> layers_;
  OverlayOptions options_;
  OverlayMerger merger_;
  OverlayNode root_;
  OverlayDirectory root_directory_;

  static constexpr std::size_t kMergeLocks = 16;
  std::array<Mutex, kMergeLocks> merge_locks_;  // one is held while a directory is merged; its address chooses which

  Mutex owned_mutex_;
  std::vector<std::unique_ptr<OverlayContent>> owned_ PKGFS_GUARDED_BY(owned_mutex_);  // of every merged directory
};

}  // namespace pkgfs::vfs
