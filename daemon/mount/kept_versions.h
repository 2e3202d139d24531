// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/unique_fd.h"
#include "daemon/packages/kept_tree.h"
#include "daemon/packages/open_tree.h"

// How the versions of a mount (versions.h) reach the next daemon.
namespace pkgfs {

/// What is kept of one version beside its tree.
struct VersionFacts {
  std::uint64_t number = 0;  // of its generation (vfs::Generations)
  std::string identity;      // FreshTree
  bool counted = false;      // the kernel's references are counted from the start
  std::uint64_t turn = 0;    // the higher, the later it was last shown
};

/// What is kept of the mount's changes.
struct VersionNotes {
  std::string refused;     // the identity that `pkgfs rollback` left: --follow doesn't go back to it; may be empty
  std::string lock_stamp;  // of the lock file that --follow has seen last
  /// A change of which the command of --on-change is to be told. Nothing: `number` is 0.
  struct Change {
    std::uint64_t number = 0;  // done when vfs::GenerationCounts::announced is as high
    std::string before;
    std::string now;
  } change;
};

/// Describes the tree of a mount that wasn't refreshed. `identity` is that of its version when the mount was made: what
/// lies at a path, or in the cache, may be another package later. Throws as `keep_tree`.
[[nodiscard]] KeptTree keep_first(const OpenedTree& first, const std::string& identity);
/// `identity` of `keep_first`; nothing if `kept` has none. Throws Error if `kept` isn't of the expected form.
[[nodiscard]] std::optional<std::string> kept_identity(const KeptTree& kept);

struct VersionToKeep {
  VersionFacts facts;
  const OpenedTree* opened;
};

/// Describes `versions`, of which the first is the one that a daemon opens first. `counts`: the descriptor of
/// vfs::GenerationCounts. Throws as `keep_tree`.
[[nodiscard]] KeptTree keep_versions(const std::vector<VersionToKeep>& versions, int counts, const VersionNotes& notes);

struct RestoredVersion {
  VersionFacts facts;
  OpenedTree opened;
};
struct RestoredVersions {
  VersionFacts first;
  UniqueFd counts;
  VersionNotes notes;
  std::vector<RestoredVersion> others;
};
/// What `keep_versions` described, but for the tree of the first version, which `open_kept_tree` opens. Nothing if
/// `kept` has no versions. Leaves out a version that can't be opened, with a warning: its files are stale (ESTALE).
/// Throws Error if `kept` isn't of the expected form.
[[nodiscard]] std::optional<RestoredVersions> restore_versions(const KeptTree& kept, const TreeFlags& flags,
                                                               const Io& io);
/// The tree of the first version, as `open_kept_tree`. If it can't be opened, the version of `versions` that was shown
/// last becomes the first, and the warning is the same as for others. Throws Error if there is no other.
[[nodiscard]] OpenedTree open_first(const KeptTree& kept, std::optional<RestoredVersions>& versions,
                                    const TreeFlags& flags, const Io& io);

}  // namespace pkgfs
