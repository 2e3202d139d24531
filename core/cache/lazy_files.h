// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/private_directory.h"
#include "core/cache/cache_files.h"

/// Containers that are fetched in parts (core/lazy/sparse_file.h), as files: `{key}.lazy`, and `{key}.lazy-map` with
/// the map of its blocks. A process that uses them holds a shared flock(2) on the map. The removals here hold an
/// exclusive one, and skip what is in use.
namespace pkgfs::lazy_files {

/// A pair that wasn't used for so long is removed with the next download. Longer than for downloads: the next mount of
/// the same package goes on with it, and may be days later.
inline constexpr std::chrono::hours kLongestUnused{30 * 24};

struct Pair {
  std::string key;
  std::uint64_t bytes = 0;              // that both files take on the disk
  cache_files::Clock::time_point used;  // when a process last opened, closed or changed it
};

/// All pairs in `directory`, sorted by key, also those with only one of the files.
[[nodiscard]] std::vector<Pair> list(const PrivateDirectory& directory);
/// Whether a process uses the pair of `key`. Also true if that can't be found out, for example for a pair of another
/// user. Throws Error if files can't be opened at the moment.
[[nodiscard]] bool is_in_use(const PrivateDirectory& directory, const std::string& key);
/// Removes the pair of `key`, unless it is in use or was used after `limit`. Returns how many bytes that frees; nothing
/// if it stays. Throws Error naming a file that can't be removed.
std::optional<std::uint64_t> remove(const PrivateDirectory& directory, const std::string& key,
                                    std::optional<cache_files::Clock::time_point> limit = std::nullopt);
/// Removes all pairs that aren't in use and were last used at `limit` or earlier. Those that can't be removed stay.
/// Returns how many bytes that frees. With `dry_run`, removes nothing, and returns how many bytes a removal would free.
std::uint64_t remove_old(const std::optional<PrivateDirectory>& directory, cache_files::Clock::time_point limit,
                         bool dry_run);

}  // namespace pkgfs::lazy_files
