// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/load/package.h"

namespace pkgfs {

/// The key `volumes` of `inspect --json`: name, time of the root and all entries of each volume, with the SHA-256 of
/// each file. Adds to `problems` what can't be read.
[[nodiscard]] nlohmann::json volumes_json(const Package& package, std::vector<std::string>& problems);

}  // namespace pkgfs
