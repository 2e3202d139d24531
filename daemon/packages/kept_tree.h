// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include "core/webc/json_builder.h"
#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

/// What another process needs to build a package tree again, exactly as it is: the resolution as JSON, and descriptors
/// of the containers. That process asks no source for versions. A container with a descriptor may be removed, replaced
/// or evicted meanwhile.
struct KeptTree {
  /// The nodes of the dependency graph, and what was resolved. There, the number of a node stands for the id of its
  /// package. If the container of a node has a descriptor, the node holds the descriptor's index in `descriptors`.
  webc::Json resolution;
  /// The descriptors of the containers. In the process that builds the tree again, they have the same order.
  std::vector<int> descriptors;
};

/// Whether another process could build the tree of `opened` again. It couldn't if the bytes of a package are only in
/// the memory of this process.
[[nodiscard]] bool can_keep(const OpenedTree& opened);

/// Describes `opened`, which must outlive the descriptors. Throws Error(kUnsupported) unless `can_keep` says that this
/// is possible.
[[nodiscard]] KeptTree keep_tree(const OpenedTree& opened);

/// Builds the tree that `keep_tree` described. Takes over the descriptors that `kept.descriptors` names. Reads as much
/// of a container as `mount` reads of a local file. Computes no hash that the daemon before has compared already. A
/// package without a descriptor, which is lazy, is loaded as `flags` and the environment of `io` say. Throws Error if
/// `kept` isn't of the expected form, or if a container can't be opened.
[[nodiscard]] OpenedTree open_kept_tree(const KeptTree& kept, const TreeFlags& flags, const Io& io);

}  // namespace pkgfs
