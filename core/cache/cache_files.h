// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/file_lock.h"
#include "core/base/private_directory.h"
#include "core/base/unique_fd.h"

/// The files in a directory of a cache: its entries, and the partial files and locks that killed processes left.
namespace pkgfs::cache_files {

using Clock = std::chrono::system_clock;

/// A younger lock file is never removed: another process may have created it and be about to lock it.
inline constexpr std::chrono::hours kLockAge{24};

struct File {
  std::string name;
  std::string path;
  std::uint64_t size = 0;
  Clock::time_point used;  // the later one of access and modification
};

/// The regular files of `directory`, by name. A missing directory has none. `failed` says why the list is incomplete.
[[nodiscard]] std::vector<File> list(const std::string& directory, std::error_code& failed);

/// Removes the regular files of `directory`, if there is one, whose name `matches` and that were last modified at
/// `limit` or earlier. Returns how many bytes that frees. A file that can't be removed stays. `dry_run` only counts.
std::uint64_t remove_old(const std::optional<PrivateDirectory>& directory, Clock::time_point limit, bool dry_run,
                         const std::function<bool(const std::string& name)>& matches);
/// The same for partial files (`PartialEntry::part`) and the files beside them, except those that are being filled: a
/// process holds the lock of `{key}.part`, the file `{key}{lock_ending}` in the directory `locks`.
std::uint64_t remove_old_parts(const std::optional<PrivateDirectory>& directory, Clock::time_point limit, bool dry_run,
                               const std::string& locks, const std::string& lock_ending);

/// Removes lock files (core/base/file_lock.h) with this `ending` that are older than `kLockAge` and that no
/// process holds. `dry_run` does nothing, because lock files are empty.
void remove_stale_locks(const std::optional<PrivateDirectory>& directory, std::string_view ending, bool dry_run);

/// Waits for the lock `name` of the partial file `part`, for `longest` at most. None: as long as the file grows, and
/// then for FileLock::kLongestWait. Throws as FileLock.
[[nodiscard]] FileLock lock(PrivateDirectory directory, std::string name, const CancelFlag& cancel,
                            std::optional<std::chrono::milliseconds> longest, const std::string& part);

/// Makes the partial file `part`, a `kind` of a download, the file `path`. Throws Error naming `path`, also if `part`
/// isn't the open file `downloaded` any more: then removes it, and leaves `path` as it is.
void move_into_place(const std::string& part, const UniqueFd& downloaded, std::string_view kind,
                     const std::string& path);
/// The mode of an entry that pkgfs has hashed.
inline constexpr ::mode_t kVerified = 0444;
/// Gives the regular file at `path`, not the target of a link, the mode 0444. Fails silently.
void make_read_only(const std::string& path);

/// Throws Error if another user may replace files in the cache directory `directory`, which exists
/// (PrivateDirectory::require_control).
void require_control(const std::string& directory);

/// `error`, which happened while a file was looked up or made in the cache directory `directory`. If the directory is
/// at fault, the last message names it and says how to use another one.
[[nodiscard]] Error unwritable(const std::string& directory, const Error& error);

/// Calls `make`, which makes files in the cache directory `directory`. Throws what it throws, as `unwritable`.
template <typename Result, typename Make>
[[nodiscard]] Result in_directory(const std::string& directory, const Make& make) {
  try {
    return make();
  } catch (const Error& error) {
    throw unwritable(directory, error);
  }
}

}  // namespace pkgfs::cache_files
