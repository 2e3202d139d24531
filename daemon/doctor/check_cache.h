// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "daemon/doctor/finding.h"

namespace pkgfs::doctor {

/// Checks the cache directory: whether this user can write it, its owner, the free space, and unfinished downloads.
void check_cache(Findings& findings, const std::string& cache_dir);

}  // namespace pkgfs::doctor
