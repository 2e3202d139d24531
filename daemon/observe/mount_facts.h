// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace pkgfs {

/// What the statistics and metrics of a mount show beside the counts. It does not change while the mount exists.
struct MountFacts {
  std::string package;                // the source that df(1) shows
  std::vector<std::string> packages;  // ids of all loaded packages, sorted
  std::string mountpoint;
  std::string metrics;  // where the metrics are served; empty: nowhere
  pid_t pid = 0;
  std::int64_t since = 0;  // seconds since the epoch
};

/// Members of a JSON object, each behind a comma, for `user.pkgfs.stats`:
/// `,"package":"acme/app@1.0.0","packages":["acme/app@1.0.0"],"mountpoint":"/mnt","version":"0.1.0","pid":7,"since":9`,
/// and `"metrics"` if they are served. An attribute holds at most 64 KiB. So the list of packages is cut at 32 KiB, and
/// then `"packages_total"` has their number.
[[nodiscard]] std::string json_members(const MountFacts& facts);

}  // namespace pkgfs
