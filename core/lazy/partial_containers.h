// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/lazy/sparse_file.h"

namespace pkgfs {

/// A SparseFile as a list of the cache shows it.
struct PartialContainer {
  std::string key;
  std::string path;  // of the sparse file
  std::uint64_t bytes_present = 0;
  std::uint64_t size = 0;  // of the whole container; 0 if its map is damaged
  bool is_in_use = false;
  std::chrono::system_clock::time_point used;  // when a process last opened, closed or changed it
};

/// All SparseFiles in `directory`, sorted by key; none if there is no such directory. Those of other users are left
/// out. Changes nothing: blocks that the next opener would forget, because of a reboot, don't count. `boot` is for
/// tests. Throws Error.
[[nodiscard]] std::vector<PartialContainer> partial_containers(const std::string& directory,
                                                               const std::string& boot = SparseFile::this_boot());

}  // namespace pkgfs
