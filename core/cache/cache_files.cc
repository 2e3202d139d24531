// SPDX-License-Identifier: MIT
#include "core/cache/cache_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "core/base/log.h"

namespace pkgfs::cache_files {
namespace {

Clock::time_point to_time(const timespec& time) {
  return Clock::time_point(std::chrono::duration_cast<Clock::duration>(std::chrono::seconds(time.tv_sec)));
}

/// Every regular file that was last modified at `limit` or earlier. An unreadable directory has none.
void for_each_old(const PrivateDirectory& directory, Clock::time_point limit,
                  const std::function<void(const std::string& name, const struct stat& status)>& visit) {
  std::error_code ignored;
  directory.for_each_file(ignored, [&](const std::string& name, const struct stat& status) {
    if (to_time(status.st_mtim) <= limit) {
      visit(name, status);
    }
  });
}

/// Whether the file `name` is still there and was last modified at `limit` or earlier.
bool is_old(const PrivateDirectory& directory, const std::string& name, Clock::time_point limit) {
  struct stat status{};
  return ::fstatat(directory.fd(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && to_time(status.st_mtim) <= limit;
}

/// Calls `remove` unless a process holds the lock `name` of the directory `locks`. False if one does, or if that can't
/// be found out.
bool while_locked(const std::string& locks, const std::string& name, bool dry_run,
                  const std::function<bool()>& remove) {
  try {
    auto directory = PrivateDirectory::find(locks);
    if (!directory) {
      return remove();  // no process can hold it
    }
    if (dry_run) {
      return !FileLock::is_held(*directory, name) && remove();
    }
    const auto lock = FileLock::take_if_free(*std::move(directory), name);
    return lock && remove();
  } catch (const Error& error) {
    log::debug("{}", error);
    return false;
  }
}

}  // namespace

std::vector<File> list(const std::string& directory, std::error_code& failed) {
  std::vector<File> files;
  const auto opened = PrivateDirectory::find_chosen(directory, failed);
  if (!opened) {
    if (failed == std::errc::no_such_file_or_directory) {
      failed.clear();
    }
    return files;
  }
  opened->for_each_file(failed, [&](const std::string& name, const struct stat& status) {
    files.push_back({name, opened->path_of(name), static_cast<std::uint64_t>(status.st_size),
                     std::max(to_time(status.st_atim), to_time(status.st_mtim))});
  });
  std::ranges::sort(files, {}, &File::name);
  return files;
}

std::uint64_t remove_old(const std::optional<PrivateDirectory>& directory, Clock::time_point limit, bool dry_run,
                         const std::function<bool(const std::string& name)>& matches) {
  std::uint64_t freed = 0;
  if (directory) {
    for_each_old(*directory, limit, [&](const std::string& name, const struct stat& status) {
      if (matches(name) && (dry_run || directory->remove(name))) {
        freed += static_cast<std::uint64_t>(status.st_size);
      }
    });
  }
  return freed;
}

std::uint64_t remove_old_parts(const std::optional<PrivateDirectory>& directory, Clock::time_point limit, bool dry_run,
                               const std::string& locks, const std::string& lock_ending) {
  std::uint64_t freed = 0;
  if (directory) {
    for_each_old(*directory, limit, [&](const std::string& name, const struct stat& status) {
      if ((!lock_ending.empty() && name.ends_with(lock_ending)) || name.ends_with(kLazy) || name.ends_with(kLazyMap)) {
        return;
      }
      const std::string lock = name.substr(0, name.find(".part")) + lock_ending;
      // The file may have been written to, or moved away, before the lock was taken.
      if (while_locked(locks, lock, dry_run,
                       [&] { return is_old(*directory, name, limit) && (dry_run || directory->remove(name)); })) {
        freed += static_cast<std::uint64_t>(status.st_size);
      }
    });
  }
  return freed;
}

void remove_stale_locks(const std::optional<PrivateDirectory>& directory, std::string_view ending, bool dry_run) {
  if (dry_run || !directory) {
    return;
  }
  for_each_old(*directory, Clock::now() - kLockAge, [&](const std::string& name, const struct stat& status) {
    if (!name.ends_with(ending)) {
      return;
    }
    const UniqueFd fd(::openat(directory->fd(), name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat opened{};
    // The lock is held during the removal. A process that waits for the lock notices that the file is gone, and
    // creates a new one (FileLock).
    if (fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 && ::fstat(fd.get(), &opened) == 0 &&
        FileId(opened) == FileId(status)) {
      directory->remove(name);
    }
  });
}

FileLock lock(PrivateDirectory directory, std::string name, const CancelFlag& cancel,
              std::optional<std::chrono::milliseconds> longest, const std::string& part) {
  if (longest) {
    return {std::move(directory), std::move(name), cancel, *longest};
  }
  return {std::move(directory), std::move(name), cancel, FileLock::kLongestWait, [&part] {
            struct stat status{};
            return ::stat(part.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
          }};
}

void move_into_place(const std::string& part, int downloaded, std::string_view kind, const std::string& path,
                     Replaced replaced) {
  const std::filesystem::path whole(part);
  const std::string failed = fmt::format("Unable to save the downloaded {} to \"{}\"", kind, path);
  const auto directory = PrivateDirectory::find(whole.parent_path());
  if (!directory) {
    throw system_error(failed, ENOENT);
  }
  // Compared before the move: what is at `path` afterwards may be a download that Wasmer has put there. The lock of the
  // partial file keeps other processes away, and the directory (`require_control`) other users.
  struct stat there{};
  struct stat ours{};
  if (::fstatat(directory->fd(), whole.filename().c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0 ||
      ::fstat(downloaded, &ours) != 0) {
    throw system_error(failed, errno);
  }
  if (FileId(there) == FileId(ours)) {
    if (const int errnum = directory->move_out(whole.filename(), path); errnum != 0) {
      throw system_error(failed, errnum);
    }
  } else {
    if (replaced == Replaced::kRemove) {
      directory->remove(whole.filename());
    }
    throw Error(ErrorCode::kCorrupt, fmt::format("{}: another process has replaced \"{}\" meanwhile", failed, part));
  }
}

void mark_used(const std::string& path) {
  const std::array<timespec, 2> times{timespec{0, UTIME_NOW}, timespec{0, UTIME_OMIT}};
  ::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
}

void require_control(const std::string& directory) {
  std::error_code failed;
  if (const auto opened = PrivateDirectory::find_chosen(directory, failed)) {
    opened->require_control();
  }
}

void make_read_only(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  struct stat status{};
  if (fd && ::fstat(fd.get(), &status) == 0 && S_ISREG(status.st_mode)) {
    ::fchmod(fd.get(), kVerified);
  }
}

Error unwritable(const std::string& directory, const Error& error) {
  if (error.code() != ErrorCode::kPermission && error.code() != ErrorCode::kIo) {
    return error;
  }
  Error with_advice = error;
  with_advice.caused_by("downloads are kept in \"" + directory +
                        "\"; --cache-dir=DIR, or WASMER_CACHE_DIR, selects another directory for the cache");
  return with_advice;
}

}  // namespace pkgfs::cache_files
