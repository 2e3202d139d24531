// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace pkgfs {

/// What doesn't change as long as a mount lives: what its statistics and metrics say beside the counts.
struct MountFacts {
  std::string package;                // as df shows it
  std::vector<std::string> packages;  // ids of all that were loaded, sorted
  std::string mountpoint;
  std::string metrics;  // where they are served; empty: nowhere
  pid_t pid = 0;
  std::int64_t since = 0;  // seconds since the epoch
};

}  // namespace pkgfs
