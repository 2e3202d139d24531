// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace pkgfs {

/// What the statistics and metrics of a mount show beside the counts. Only `packages` change while the mount exists,
/// with
/// --follow-manifest.
struct MountFacts {
  std::string package;                // the source that df(1) shows
  std::vector<std::string> packages;  // ids of all loaded packages, sorted
  std::string mountpoint;
  std::string metrics;  // where the metrics are served; empty: nowhere
  pid_t pid = 0;
  std::int64_t since = 0;  // seconds since the epoch
};

}  // namespace pkgfs
