// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/vfs/merge.h"
#include "core/vfs/overlay_node.h"

namespace pkgfs::vfs {

/// Makes the nodes of an OverlayFileSystem. Lists a directory in every layer that has it, and decides for each name
/// which layers take part (merge.h). Replaces the text of a symbolic link that leads out of its volume, as
/// OverlayOptions say. Thread-safe.
///
/// A directory may be merged more than once, to the same result. Only the first time, it logs the links whose text it
/// replaces: three of them, and the number of the others. It does so for the first 100 directories that have such
/// links. While conflicts are collected, it does so for all directories.
class OverlayMerger {
 public:
  /// Both must outlive the merger. `large`: directories may become large ones (LargeDirectory).
  OverlayMerger(const std::vector<Layer>& layers, const OverlayOptions& options, bool large)
      : layers_(layers), options_(options), large_(large) {
    depths_.reserve(layers.size());
    for (const Layer& layer : layers) {
      depths_.push_back({path_depth(layer.mount_path), path_depth(layer.source_path)});
    }
  }

  /// Fills in the root, from the roots of all layers. `top` is the directory that has it as its one entry.
  void make_root(OverlayNode& root, OverlayContent& top);
  /// The entries of the directory `dir`, whose inode in the overlay is `inode`.
  [[nodiscard]] std::unique_ptr<OverlayContent> merge(const OverlayNode& dir, Inode inode);
  /// From now on, remembers the conflicts in what is merged.
  void collect_conflicts();
  /// The conflicts since then, in the order in which they were found. Ends the collecting.
  [[nodiscard]] std::vector<OverlayConflict> take_conflicts();

 private:
  struct NamedCandidate;
  struct Depths {
    std::size_t mount = 0;
    std::size_t source = 0;
  };
  /// The results of one merge that a user should know. `tell` reports them at the end of the merge.
  struct Findings {
    bool wants_conflicts = false;
    bool wants_warnings = false;  // not for a directory that was told before
    std::vector<OverlayConflict> conflicts;
    std::vector<std::string> warnings;
    std::size_t more = 0;  // warnings that were left out
  };
  [[nodiscard]] Findings wanted_findings(std::uint64_t directory);
  /// False: the directory is too large.
  bool list(OverlayContent& content, std::span<const OverlayPart> parts, std::vector<NamedCandidate>& named) const;
  void fill(OverlayContent& content, std::size_t parts, std::vector<NamedCandidate>& named, Findings& findings) const;
  void fill_large(OverlayContent& content, std::span<const OverlayPart> parts, Findings& findings) const;
  void fill_node(OverlayNode& node, OverlayContent& content, std::string_view name, std::vector<Candidate>& candidates,
                 Findings& findings) const;
  /// Replaces the text of a link that leads out of its volume.
  void clamp(OverlayNode& node, OverlayContent& content, Findings& findings) const;
  void tell(std::uint64_t directory, Findings findings);

  const std::vector<Layer>& layers_;
  const OverlayOptions& options_;
  bool large_;
  std::vector<Depths> depths_;  // of the layers' paths
  mutable Mutex mutex_;
  bool collects_ PKGFS_GUARDED_BY(mutex_) = false;
  std::vector<OverlayConflict> conflicts_ PKGFS_GUARDED_BY(mutex_);
  std::unordered_set<std::uint64_t> told_ PKGFS_GUARDED_BY(mutex_);  // numbers of directories
};

}  // namespace pkgfs::vfs
