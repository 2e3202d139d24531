// SPDX-License-Identifier: MIT
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

/// What processes that were killed leave in a directory of downloads.
namespace pkgfs::leftovers {

using Clock = std::chrono::system_clock;

/// A younger lock file may belong to somebody who is about to lock it.
inline constexpr std::chrono::hours kLockAge{24};

/// The later one of access and modification.
[[nodiscard]] Clock::time_point last_use(const struct stat& status);

/// Removes the regular files of `directory` whose name `matches` and that weren't changed since `limit`. Returns how
/// many bytes that frees. What can't be removed stays.
std::uint64_t remove_old(const std::string& directory, Clock::time_point limit, bool dry_run,
                         const std::function<bool(const std::string& name)>& matches);

/// Removes lock files (base/files.h, FileLock) with this `ending` that are older than `kLockAge` and that nobody holds.
void remove_stale_locks(const std::string& directory, std::string_view ending, bool dry_run);

}  // namespace pkgfs::leftovers
