// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace pkgfs {

/// What the statistics and metrics of a mount show beside the counts. Only `packages`, `kept`, `keeper` and
/// `keeperd` change while the daemon runs.
struct MountFacts {
  std::string package;                // the source that df(1) shows
  std::vector<std::string> packages;  // ids of all loaded packages, sorted
  std::string mountpoint;
  std::string metrics;  // where the metrics are served; empty: nowhere
  pid_t pid = 0;
  std::int64_t since = 0;     // when the mount was made, in seconds since the epoch
  bool kept = false;          // there is a keeper, or one is being started
  pid_t keeper = 0;           // the process that lets another daemon go on with the mount; 0: none
  bool keeperd = false;       // pkgfs-keeperd holds the mount, too
  unsigned generation = 1;    // of the daemon: 1 made the mount
  std::string last_end = {};  // why the daemon before ended; empty: there was none
};

}  // namespace pkgfs
