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
  bool prepared = false;      // resolved and downloaded
  std::set<std::string> ids;  // its users, as the engine names them
};

struct VolumeState {
  std::string boot;  // `current_boot()` when it was written: mounts and users end with it
  std::vector<VolumeRecord> volumes;
};

/// Writes the state file, which is JSON. A reader sees the old or the new file, even after a power failure. Throws
/// Error naming the file.
void save_volume_state(const std::string& path, const VolumeState& state);

/// Reads the state file; a missing file is an empty state. Throws Error naming the file: kCorrupt with what is wrong,
/// kUnsupported if a newer pkgfs wrote it.
[[nodiscard]] VolumeState load_volume_state(const std::string& path);

/// The id that the kernel gives to the time since the machine started; empty if it can't be read.
[[nodiscard]] std::string current_boot();

}  // namespace pkgfs
