// SPDX-License-Identifier: MIT
#include "core/cache/cache_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "core/base/unique_fd.h"

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
        opened.st_ino == status.st_ino && opened.st_dev == status.st_dev) {
      directory->remove(name);
    }
  });
}

int move_into_place(const std::string& part, const std::string& path) {
  const std::filesystem::path whole(part);
  const auto directory = PrivateDirectory::find(whole.parent_path());
  return directory ? directory->move_out(whole.filename(), path) : ENOENT;
}

void make_read_only(const std::string& path) {
  constexpr ::mode_t kVerified = 0444;
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
