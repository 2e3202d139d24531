// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/vfs/file_system.h"
#include "core/vfs/live_changes.h"
#include "core/vfs/live_layers.h"
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
///
/// With OverlayOptions::replaceable, another tree can take the place of this one while it is mounted (`replace`). Then
/// all inodes are counted, also those of layers that never change.
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

  /// The conflicts in the tree as it is now, those inside the unchanging layers included. Called before the first other
  /// look-up.
  [[nodiscard]] std::vector<OverlayConflict> find_conflicts();

  /// For the OverlayOptions of a tree that will replace this one: the first number of its entries.
  [[nodiscard]] std::uint64_t next_number() const { return next_number_; }
  /// From now on, shows what `other` shows, which no caller uses afterwards. Both must be `replaceable`. Tells the
  /// kernel what has changed, and of nothing else: where the layers are the same (Layer::key), inodes and numbers stay.
  /// An open file stays readable, and so does a directory that the kernel knows, although no path leads to it any more.
  ///
  /// Only one thread at a time may call it; others may use this file system meanwhile. Each operation shows either
  /// tree. Throws Error, and then nothing has changed: kUnsupported if too many layers of former trees are still in
  /// use.
  void replace(LiveOverlayFileSystem& other);
  /// Makes the kernel forget what it keeps of former trees, unless a program has it open. `replace` does this, too, but
  /// an entry that a program uses at that moment stays known. Any thread may call it.
  void drop_former() noexcept { changes_.drop_lost(); }

 private:
  [[nodiscard]] std::pair<OverlayFileSystem*, Inode> handed_through(Inode inode) const;
  [[nodiscard]] static Inode hand_through(std::uint32_t layer, Inode inode);

  /// An entry that was found, and its node, which isn't added yet; null: `entry.inode` is handed through.
  struct Settled {
    Entry entry;
    std::unique_ptr<LiveNode> node;
  };

  /// The number to show for an entry of a layer (docs/rules/filesystem.md, 9.6); 0: the layer knows none.
  [[nodiscard]] std::uint64_t number(const Candidate& from) const;
  [[nodiscard]] Decision choose(std::vector<Candidate>& candidates) const;
  [[nodiscard]] std::vector<Candidate> ask_layers(const LiveContent& dir, std::string_view name);
  /// Makes one entry of the candidates and releases those that aren't part of it. `content` is that of `dir`.
  [[nodiscard]] Result<Settled> settle(LiveNode& dir, const LiveContent& content, std::string_view name,
                                       std::vector<Candidate>& candidates);
  [[nodiscard]] LiveContent::Part take_part(const Candidate& candidate);
  [[nodiscard]] std::shared_ptr<const LiveListing> list(LiveNode& dir, int& error);
  /// The content of the root of a tree that consists of these layers. No parts: none of them can be read.
  [[nodiscard]] LiveContent root_content(const std::vector<std::uint32_t>& layers);

  // For `replace`.
  /// The layers of `other` in their order, those that this tree has already as the same number.
  [[nodiscard]] std::vector<std::uint32_t> take_layers(LiveOverlayFileSystem& other);
  /// Finds out what becomes of the known nodes if the directories have the contents of `replacement`, which begins with
  /// the root. Adds the directories below it. `held` gets nodes with a reference each. Another call looks only at the
  /// nodes that were added since.
  void prepare(LiveReplacement& replacement, std::vector<LiveNode*>& held);
  /// The names without a node that the kernel may know, and that lead elsewhere or nowhere then.
  [[nodiscard]] std::vector<Notice> vanished(const LiveReplacement& replacement);
  [[nodiscard]] bool is_handed_through_by(std::uint32_t layer, LiveNode& dir, const LiveContent& content,
                                          std::string_view name);

  static constexpr std::uint32_t kNoLayer = ~std::uint32_t{0};

  LiveLayers layers_;
  OverlayOptions options_;
  LiveNodes nodes_;
  LiveChanges changes_{nodes_, layers_};
  std::vector<std::uint32_t> shown_;  // the layers of the tree, in order of precedence
  HostNumbers host_numbers_;
  std::uint64_t next_number_;
  std::vector<OverlayConflict>* conflicts_ = nullptr;  // set while `find_conflicts` runs, before the mount
};

}  // namespace pkgfs::vfs
