// SPDX-License-Identifier: MIT
#pragma once

#include <set>
#include <string>
#include <vector>

#include "daemon/volumes/volume_options.h"

namespace pkgfs {

/// What is remembered of a volume.
struct VolumeRecord {
  std::string name;
  DriverOptions options;      // as they were given
  std::string created;        // RFC 3339, UTC
  bool prepared = false;      // resolved and downloaded
  std::set<std::string> ids;  // who uses it: the ids of mounts
};

struct VolumeState {
  std::string boot;  // of which start of the machine; mounts and their users don't outlive it
  std::vector<VolumeRecord> volumes;
};

/// The state file: JSON, replaced by rename when it is complete and on the disk. Throws Error naming the file.
void save_volume_state(const std::string& path, const VolumeState& state);

/// Nothing yet where there is no file. Throws Error: kCorrupt naming the file and what is wrong with it, kUnsupported
/// for one of a newer pkgfs.
[[nodiscard]] VolumeState load_volume_state(const std::string& path);

/// The kernel's name for the time since the machine started; empty if it has none.
[[nodiscard]] std::string current_boot();

}  // namespace pkgfs
