// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/cli/io.h"
#include "daemon/cli/options.h"

namespace pkgfs::doctor {

/// `kWarning`: works, but something is missing or will matter later. `kProblem`: something doesn't work.
enum class Level { kOk, kWarning, kProblem };
[[nodiscard]] std::string_view to_string(Level level);

/// What was found of one thing.
struct Finding {
  std::string check;  // what was looked at: "device", "cache", …
  Level level = Level::kOk;
  std::string said;    // one line
  std::string advice;  // what to do, one line; empty when all is well
};
using Findings = std::vector<Finding>;

// None of these throws for what it finds, changes anything that others see, waits longer than some seconds, or touches
// a mount but from a child process that is left behind where it hangs.

/// /dev/fuse, fusermount3, /etc/fuse.conf, the kernel, libraries, the clock.
void check_system(Findings& findings);
/// The cache directory: whether it can be written, space, owner, what downloads left.
void check_cache(Findings& findings, const std::string& cache_dir);
/// Mounts of ours.
void check_mounts(Findings& findings);
/// Settings, and whether each registry answers; those on the network aren't asked with `--offline`. Then the cache.
void check_packages(Findings& findings, const NetworkFlags& flags, const Environment& environment);

}  // namespace pkgfs::doctor
