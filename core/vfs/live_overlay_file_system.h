// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/vfs/file_system.h"
#include "core/vfs/merge.h"
#include "core/vfs/overlay_file_system.h"

namespace pkgfs::vfs {

/// An overlay some of whose layers change under us: host directories. Every lookup asks the layers anew, so edits show
/// at once (after the caches above). A subtree that only one unchanging layer has is handed through to it: nothing is
/// added to its cost. All other inodes are counted, and go when the last reference is forgotten.
class LiveOverlayFileSystem final : public FileSystem {
 public:
  /// `layers` in order of precedence; the file system of one that isn't live is an OverlayFileSystem. Throws
  /// Error(kUnsupported) for more than limits::kLiveLayers.
  LiveOverlayFileSystem(std::vector<Layer> layers, const OverlayOptions& options);
  ~LiveOverlayFileSystem() override;

  [[nodiscard]] Inode root() const override;
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override;
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override;
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) override;
  [[nodiscard]] Result<std::uint64_t> parent_number(Inode dir) override;
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) override;
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode inode) override;
  [[nodiscard]] Result<Extent> extent(Inode inode) override;
  void forget(Inode inode, std::uint64_t count) override;
  [[nodiscard]] Result<Origin> origin(Inode inode) override;

  /// The conflicts in the tree as it is now, those inside the unchanging layers included.
  [[nodiscard]] std::vector<OverlayConflict> find_conflicts();

 private:
  struct Node;
  struct Part {
    std::uint32_t layer;
    Inode inode;  // in that layer; holds a reference if the layer is live
    friend bool operator==(const Part&, const Part&) = default;
  };
  struct Listing;

  [[nodiscard]] bool is_handed_through(Inode inode) const { return (inode & 1U) != 0; }
  [[nodiscard]] std::pair<OverlayFileSystem*, Inode> handed_through(Inode inode) const;
  [[nodiscard]] static Inode hand_through(std::uint32_t layer, Inode inode);
  [[nodiscard]] Node& node(Inode inode) const;

  [[nodiscard]] Decision choose(std::vector<Candidate>& candidates) const;
  [[nodiscard]] std::vector<Candidate> ask_layers(const Node& dir, std::string_view name);
  [[nodiscard]] Result<Entry> settle(Node& dir, std::string_view name, std::vector<Candidate>& candidates);
  [[nodiscard]] std::shared_ptr<const Listing> list(Node& dir, int& error);
  [[nodiscard]] std::string path_of(const Node& node) const;
  void release(const Part& part);
  void drop(Node* node, std::uint64_t count);

  std::vector<Layer> layers_;
  OverlayOptions options_;
  std::mutex mutex_;  // guards the tree of nodes and their counts; not held while a layer works
  std::unique_ptr<Node> root_;
  std::vector<OverlayConflict>* conflicts_ = nullptr;  // set while `find_conflicts` runs, before the mount
};

}  // namespace pkgfs::vfs
