// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/mount/mount_owner.h"
#include "daemon/mount/mount_probe.h"
#include "daemon/mount/mount_table.h"

namespace pkgfs {

/// What a mount says of the packages that weren't complete when it was made (stats_json.h).
struct LazyStatus {
  bool whole = false;          // all are complete now, and checked
  std::uint64_t bytes = 0;     // of these packages
  std::uint64_t local = 0;     // at most `bytes`
  bool in_background = false;  // what no reader needs is fetched, too
  std::string problem;         // why the rest doesn't come; empty if there is no such reason

  [[nodiscard]] unsigned percent() const;
  /// `lazy 37 %: 8.9 MiB of 24.0 MiB are local`, with the problem if there is one.
  [[nodiscard]] std::string text() const;
};

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
  /// None if all packages were complete when the mount was made, or if the mount didn't say.
  [[nodiscard]] std::optional<LazyStatus> lazy() const;
  /// The number of requests of all kinds.
  [[nodiscard]] std::optional<std::uint64_t> requests() const;
};

/// Asks mounts of pkgfs, all at the same time, by child processes (run_bounded.h). Waits at most `limit` for their
/// statistics, and as long again for those that gave none. Throws Error if no process can be started.
[[nodiscard]] std::vector<MountStatus> ask_mounts(std::vector<MountEntry> mounts, std::chrono::milliseconds limit);

/// The mounts of pkgfs that this process sees, in the order of the mount table. A writable mount is one of them, and
/// not two (find_package_mount). Throws Error if /proc can't be read.
[[nodiscard]] std::vector<MountEntry> our_mounts();

}  // namespace pkgfs
