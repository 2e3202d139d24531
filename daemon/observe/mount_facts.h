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

/// Members of a JSON object, each behind a comma, for `user.pkgfs.stats`:
/// `,"package":"acme/app@1.0.0","packages":["acme/app@1.0.0"],"mountpoint":"/mnt","version":"0.1.0","pid":7,"since":9`,
/// and `"metrics"` if they are served. An attribute holds 64 KiB at most: of very many packages the first are listed,
/// and `"packages_total"` says how many there are.
[[nodiscard]] std::string json_members(const MountFacts& facts);

}  // namespace pkgfs
