// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "daemon/mount/mount_owner.h"
#include "daemon/mount/mount_table.h"

namespace pkgfs {

/// Everything that can be known of a mount from outside.
struct MountStatus {
  MountEntry entry;
  MountState state = MountState::kLive;
  /// `user.pkgfs.stats`; null if the mount can't be asked: it is dead, stuck, of another user, or of a program that
  /// doesn't have it.
  nlohmann::ordered_json statistics;
  /// For a mount that couldn't be asked who serves it.
  std::optional<MountOwner> owner;

  [[nodiscard]] std::optional<pid_t> pid() const;
  [[nodiscard]] std::optional<std::int64_t> since() const;  // seconds since the epoch
  /// How many requests came in all.
  [[nodiscard]] std::optional<std::uint64_t> requests() const;
};

/// Asks mounts of ours, all at once, by child processes (run_bounded.h): never waits longer than `limit` for them.
[[nodiscard]] std::vector<MountStatus> ask_mounts(std::vector<MountEntry> mounts, std::chrono::milliseconds limit);

/// The mounts of ours that this process sees, in the order of the mount table.
[[nodiscard]] std::vector<MountEntry> our_mounts();

}  // namespace pkgfs
