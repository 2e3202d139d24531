// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/vfs/file_system.h"
#include "core/vfs/live_changes.h"
#include "core/vfs/live_nodes.h"
#include "core/vfs/merge.h"
#include "core/vfs/overlay_file_system.h"

namespace pkgfs::vfs {

/// Layers on top of each other as one tree, of which some are host directories that change at any time. Every look-up
/// asks the layers again, so that edits show as soon as the caches above allow. Inodes are counted (LiveNodes).
///
/// A subtree that a single unchanging layer has is handed through to that layer, so that it costs what it costs there;
/// such inodes aren't counted. To list a directory in one go, a reader continues with the listing that it began with,
/// even if the directory has changed since.
class LiveOverlayFileSystem final : public FileSystem {
 public:
  /// `layers` in order of precedence; those that aren't live are OverlayFileSystems. `host_base` is added to the host's
  /// inode numbers, so that they differ from those of all layers. Throws Error(kUnsupported) for more than
  /// limits::kLiveLayers.
  LiveOverlayFileSystem(std::vector<Layer> layers, const OverlayOptions& options,
                        std::uint64_t host_base = kRootNumber);
  ~LiveOverlayFileSystem() override;

  [[nodiscard]] Inode root() const override;
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override;
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override;
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) override;
  [[nodiscard]] Result<std::uint64_t> parent_number(Inode dir) override;
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) override;
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode inode) override;
  [[nodiscard]] Result<Extent> extent(Inode inode) override;
  [[nodiscard]] bool is_intact(Inode inode) override;
  [[nodiscard]] LiveChanges* changes() override { return &changes_; }
  void forget(Inode inode, std::uint64_t count) override;
  [[nodiscard]] Result<Origin> origin(Inode inode) override;

  /// The conflicts in the tree as it is now, those inside the unchanging layers included.
  [[nodiscard]] std::vector<OverlayConflict> find_conflicts();

 private:
  [[nodiscard]] std::pair<OverlayFileSystem*, Inode> handed_through(Inode inode) const;
  [[nodiscard]] static Inode hand_through(std::uint32_t layer, Inode inode);

  /// The number to show for an entry of a layer (docs/rules/filesystem.md, 9.6); 0: the layer knows none.
  [[nodiscard]] std::uint64_t number(const Candidate& from) const;
  [[nodiscard]] Decision choose(std::vector<Candidate>& candidates) const;
  [[nodiscard]] std::vector<Candidate> ask_layers(const LiveNode& dir, std::string_view name);
  /// Makes one entry of the candidates and releases those that aren't part of it.
  [[nodiscard]] Result<Entry> settle(LiveNode& dir, std::string_view name, std::vector<Candidate>& candidates);
  [[nodiscard]] std::shared_ptr<const LiveListing> list(LiveNode& dir, int& error);

  std::vector<Layer> layers_;
  OverlayOptions options_;
  LiveNodes nodes_;
  LiveChanges changes_{nodes_, layers_};
  std::vector<OverlayConflict>* conflicts_ = nullptr;  // set while `find_conflicts` runs, before the mount
};

}  // namespace pkgfs::vfs
