// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/load/package.h"

namespace pkgfs {

/// The key `volumes` of `inspect --json`: name, time of the root and all entries of each volume, with the SHA-256 of
/// each file. Adds to `problems` what can't be read.
[[nodiscard]] nlohmann::json volumes_json(const Package& package, std::vector<std::string>& problems);

/// The same for a container of which only parts are here. Reads no file: the SHA-256 is the stored one, or null. Waits
/// for the directory data of volumes in their order, as long as the sum is at most `most` bytes. The other volumes have
/// the keys `directory_bytes` and `data_bytes` instead of entries. Throws Error if the data can't be fetched.
[[nodiscard]] nlohmann::json volumes_in_parts_json(const webc::Container& container, std::uint64_t most,
                                                   std::vector<std::string>& problems);

}  // namespace pkgfs
