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

/// `remove_stale_locks` never removes a younger lock file, because another process may have made it and be about to
/// lock it.
inline constexpr std::chrono::hours kLockAge{24};

/// The endings of a container that is fetched in parts, and of its map (lazy_files.h).
inline constexpr std::string_view kLazy = ".lazy";
inline constexpr std::string_view kLazyMap = ".lazy-map";

struct File {
  std::string name;
  std::string path;
  std::uint64_t size = 0;
  Clock::time_point used;  // the later one of its access time and its modification time
};

/// The regular files of `directory`, sorted by name. A missing directory has none. If the list is incomplete, sets
/// `failed` to the reason.
[[nodiscard]] std::vector<File> list(const std::string& directory, std::error_code& failed);

/// Removes the regular files of `directory` whose name `matches` and that were last modified at `limit` or earlier.
/// Without a directory, does nothing. Returns how many bytes that frees. A file that can't be removed stays. With
/// `dry_run`, removes nothing, and returns how many bytes a removal would free.
std::uint64_t remove_old(const std::optional<PrivateDirectory>& directory, Clock::time_point limit, bool dry_run,
                         const std::function<bool(const std::string& name)>& matches);
/// The same for partial files (`PartialEntry::part`) and the files beside them, whose names begin with `{key}.part`.
/// Their lock is the file `{key}{lock_ending}` in the directory `locks`. If a process holds the lock, the files stay,
/// because a download fills them. Containers that are fetched in parts stay, too (lazy_files.h).
std::uint64_t remove_old_parts(const std::optional<PrivateDirectory>& directory, Clock::time_point limit, bool dry_run,
                               const std::string& locks, const std::string& lock_ending);

/// Removes lock files (core/base/file_lock.h) with this `ending` that are older than `kLockAge` and that no process
/// holds. With `dry_run`, does nothing: lock files are empty, so that their removal frees no bytes.
void remove_stale_locks(const std::optional<PrivateDirectory>& directory, std::string_view ending, bool dry_run);

/// Waits for the lock `name` in `directory`, which guards the partial file `part`, for `longest` at most. Without
/// `longest`, waits until `part` hasn't grown for FileLock::kLongestWait. Throws as FileLock.
[[nodiscard]] FileLock lock(PrivateDirectory directory, std::string name, const CancelFlag& cancel,
                            std::optional<std::chrono::milliseconds> longest, const std::string& part);

/// What `move_into_place` does with another file that it finds in the place of the partial file.
enum class Replaced {
  kRemove,  // a download's: the caller holds the lock of the entry, so no download of pkgfs has put it there
  kLeave,   // of a container that is fetched in parts: another process may have begun it anew, and uses it
};
/// Moves the partial file `part` to `path`. `kind` is the word for it in messages: "package" or "file". Throws Error
/// naming `path`. If `part` doesn't lead to the open file `downloaded` any more, does with it what `replaced` says,
/// leaves `path` as it is, and throws.
///
/// Between the comparison and the move, `part` may still be replaced, but only if a user or `pkgfs cache` removes what
/// is in use. What is moved then is writable: `downloaded` becomes read-only, not the file at `path`. So
/// ContainersByHash::find hashes it before its first use.
void move_into_place(const std::string& part, int downloaded, std::string_view kind, const std::string& path,
                     Replaced replaced);
/// The mode of an entry that pkgfs has hashed.
inline constexpr ::mode_t kVerified = 0444;
/// Gives the regular file at `path`, not the target of a link, the mode 0444. Fails silently.
void make_read_only(const std::string& path);

/// Makes now the last use of the entry at `path`. Sets the access time only: a file whose modification time changes
/// counts as changed, and `--mtime=container` shows that time. Fails silently for an entry of another user.
void mark_used(const std::string& path);

/// Throws Error if another user may replace files in the cache directory `directory`
/// (PrivateDirectory::require_control). Does nothing if the directory can't be opened, for example because it doesn't
/// exist yet.
void require_control(const std::string& directory);

/// `error`, which happened while a file was looked up or made in the cache directory `directory`. For the codes
/// kPermission and kIo, a message is added that names the directory and says how to use another one.
[[nodiscard]] Error unwritable(const std::string& directory, const Error& error);

/// Calls `make`, which makes files in the cache directory `directory`, and returns its result. Throws an Error of
/// `make` in the form that `unwritable` gives it.
template <typename Result, typename Make>
[[nodiscard]] Result in_directory(const std::string& directory, const Make& make) {
  try {
    return make();
  } catch (const Error& error) {
    throw unwritable(directory, error);
  }
}

}  // namespace pkgfs::cache_files
