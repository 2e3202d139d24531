// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/vfs/merge.h"
#include "core/vfs/overlay_node.h"

namespace pkgfs::vfs {

/// Makes the nodes of an OverlayFileSystem: lists a directory in every layer that has it, decides for each name which
/// layers take part (merge.h), and rewrites symbolic links that lead out of their volume. Thread-safe.
class OverlayMerger {
 public:
  /// Both must outlive the merger.
  OverlayMerger(const std::vector<Layer>& layers, const OverlayOptions& options) : layers_(layers), options_(options) {}

  /// Fills in the root and its directory, from the roots of all layers.
  void make_root(OverlayNode& root, OverlayDirectory& directory);
  /// The entries of `dir`.
  [[nodiscard]] std::unique_ptr<OverlayContent> merge(const OverlayDirectory& dir);
  /// The conflicts in what was merged so far, in that order.
  [[nodiscard]] std::vector<OverlayConflict> conflicts() const;

 private:
  struct NamedCandidate;
  void fill(OverlayContent& content, const OverlayDirectory& dir, std::vector<NamedCandidate>& named);
  void fill_node(OverlayNode& node, OverlayContent& content, const OverlayDirectory& dir, std::string_view name,
                 std::vector<Candidate>& candidates);
  void fill_link(OverlayNode& node, OverlayContent& content, const OverlayDirectory& dir, std::string_view name);

  const std::vector<Layer>& layers_;
  const OverlayOptions& options_;
  mutable Mutex mutex_;
  std::vector<OverlayConflict> conflicts_ PKGFS_GUARDED_BY(mutex_);
};

}  // namespace pkgfs::vfs
