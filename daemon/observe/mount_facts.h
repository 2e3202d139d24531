// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace pkgfs {

/// Which versions of its package a mount has open (docs/REFRESH.md).
struct VersionsShown {
  std::string shown;              // the package that the mount shows now; empty: `MountFacts::package`
  std::vector<std::string> kept;  // the older ones that `pkgfs rollback` can show, the last one first
  std::size_t open = 1;           // versions that are open, also because programs still use them
  std::uint64_t refreshes = 0;    // that have changed what the mount shows
  std::uint64_t failures = 0;
  std::string problem;  // why the last refresh failed; empty: it didn't
};

/// What the statistics and metrics of a mount show beside the counts. Only `packages`, `kept`, `keeper`, `keeperd` and
/// `versions` change while the daemon runs.
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
  VersionsShown versions = {};
};

}  // namespace pkgfs
