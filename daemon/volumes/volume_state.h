// SPDX-License-Identifier: MIT
#pragma once

#include <set>
#include <string>
#include <vector>

#include "daemon/volumes/volume_options.h"

namespace pkgfs {

/// A volume in the state file.
struct VolumeRecord {
  std::string name;
  DriverOptions options;      // as the engine passed them
  std::string created;        // RFC 3339, UTC
  bool prepared = false;      // resolved, and quick to mount (Mounter::prepare)
  std::set<std::string> ids;  // its users, as the engine names them
};

struct VolumeState {
  std::string boot;  // `current_boot()` when the file was written: no mount and no user outlives that boot
  std::vector<VolumeRecord> volumes;
};

/// Writes the state file, which is JSON. Other processes see the old or the new file, even after a power cut. Throws
/// Error naming the file.
void save_volume_state(const std::string& path, const VolumeState& state);

/// Reads the state file; a missing file is an empty state. Throws Error naming the file: kCorrupt with the problem, or
/// kUnsupported if a newer pkgfs wrote the file.
[[nodiscard]] VolumeState load_volume_state(const std::string& path);

/// The id of the current boot (/proc/sys/kernel/random/boot_id); empty if it can't be read.
[[nodiscard]] std::string current_boot();

/// Renames a damaged state file, so that a user can look at it. Returns its new path. Throws Error.
[[nodiscard]] std::string set_aside(const std::string& path);

}  // namespace pkgfs
