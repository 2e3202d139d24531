// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/mount/mount_owner.h"
#include "daemon/mount/mount_probe.h"
#include "daemon/mount/mount_table.h"

namespace pkgfs {

/// What another process can learn of a mount.
struct MountStatus {
  MountEntry entry;
  MountState state = MountState::kLive;
  /// The attribute `user.pkgfs.stats`. Null if the mount does not answer, belongs to another user, or has no such
  /// attribute.
  nlohmann::ordered_json statistics;
  /// The process that serves the mount; looked for only if `statistics` do not name it.
  std::optional<MountOwner> owner;

  [[nodiscard]] std::optional<pid_t> pid() const;
  [[nodiscard]] std::optional<std::int64_t> since() const;  // seconds since the epoch
  /// The number of requests of all kinds.
  [[nodiscard]] std::optional<std::uint64_t> requests() const;
};

/// Asks mounts of pkgfs, all at the same time, by child processes (run_bounded.h). Waits at most `limit` for their
/// statistics, and as long again for those that gave none. Throws Error if no process can be started.
[[nodiscard]] std::vector<MountStatus> ask_mounts(std::vector<MountEntry> mounts, std::chrono::milliseconds limit);

/// The mounts of pkgfs that this process sees, in the order of the mount table. Throws Error if /proc can't be read.
[[nodiscard]] std::vector<MountEntry> our_mounts();

}  // namespace pkgfs
