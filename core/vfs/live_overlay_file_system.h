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

/// Shows several layers as one tree. Some of them are host directories, which may change at any time. Every look-up
/// asks the layers again, so an edit shows as soon as the kernel's caches allow. Callers return the references of
/// inodes by `forget` (LiveNodes).
///
/// If only one layer has an entry, and that layer never changes, it alone answers requests for the entry and for all
/// below it. Such a request costs what it costs in that layer, and these inodes have no references. A reader that lists
/// a directory in several requests gets the listing with which it began, even if the directory has changed since.
/// (LiveNodes keeps only the newest listings.)
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
