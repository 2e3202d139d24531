// SPDX-License-Identifier: MIT
#include "core/cache/cache_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "core/base/unique_fd.h"

namespace pkgfs::cache_files {
namespace {

namespace stdfs = std::filesystem;

Clock::time_point to_time(const timespec& time) {
  return Clock::time_point(std::chrono::duration_cast<Clock::duration>(std::chrono::seconds(time.tv_sec)));
}

void for_each(const std::string& directory, std::error_code& failed,
              const std::function<void(const stdfs::path& path, const struct stat& status)>& visit) {
  for (stdfs::directory_iterator each(directory, failed); !failed && each != stdfs::directory_iterator();
       each.increment(failed)) {
    struct stat status{};
    if (::lstat(each->path().c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
      visit(each->path(), status);
    }
  }
}

/// Every regular file that was last modified at `limit` or earlier. An unreadable directory has none.
void for_each_old(const std::string& directory, Clock::time_point limit,
                  const std::function<void(const stdfs::path& path, const struct stat& status)>& visit) {
  std::error_code ignored;
  for_each(directory, ignored, [&](const stdfs::path& path, const struct stat& status) {
    if (to_time(status.st_mtim) <= limit) {
      visit(path, status);
    }
  });
}

}  // namespace

std::vector<File> list(const std::string& directory, std::error_code& failed) {
  std::vector<File> files;
  for_each(directory, failed, [&](const stdfs::path& path, const struct stat& status) {
    files.push_back({path.filename().string(), path.string(), static_cast<std::uint64_t>(status.st_size),
                     std::max(to_time(status.st_atim), to_time(status.st_mtim))});
  });
  if (failed == std::errc::no_such_file_or_directory) {
    failed.clear();
  }
  std::ranges::sort(files, {}, &File::name);
  return files;
}

std::uint64_t remove_old(const std::string& directory, Clock::time_point limit, bool dry_run,
                         const std::function<bool(const std::string& name)>& matches) {
  std::uint64_t freed = 0;
  for_each_old(directory, limit, [&](const stdfs::path& path, const struct stat& status) {
    if (matches(path.filename().string()) && (dry_run || ::unlink(path.c_str()) == 0)) {
      freed += static_cast<std::uint64_t>(status.st_size);
    }
  });
  return freed;
}

void remove_stale_locks(const std::string& directory, std::string_view ending, bool dry_run) {
  if (dry_run) {
    return;
  }
  for_each_old(directory, Clock::now() - kLockAge, [&](const stdfs::path& path, const struct stat& status) {
    if (!path.filename().string().ends_with(ending)) {
      return;
    }
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    struct stat opened{};
    // The lock is held during the removal. A process that waits for the lock notices that the file is gone, and
    // creates a new one (FileLock).
    if (fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 && ::fstat(fd.get(), &opened) == 0 &&
        opened.st_ino == status.st_ino && opened.st_dev == status.st_dev) {
      ::unlink(path.c_str());
    }
  });
}

Error unwritable(const std::string& directory, const Error& error) {
  if (error.code() != ErrorCode::kPermission && error.code() != ErrorCode::kIo) {
    return error;
  }
  std::vector<std::string> chain = error.chain();
  chain.push_back("downloads are kept in \"" + directory +
                  "\"; --cache-dir=DIR, or WASMER_CACHE_DIR, selects another directory for the cache");
  return {error.code(), std::move(chain)};
}

}  // namespace pkgfs::cache_files
