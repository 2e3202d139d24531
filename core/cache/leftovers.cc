// SPDX-License-Identifier: MIT
#include "core/cache/leftovers.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "core/base/unique_fd.h"

namespace pkgfs::leftovers {
namespace {

namespace stdfs = std::filesystem;

Clock::time_point to_time(const timespec& time) {
  return Clock::time_point(std::chrono::duration_cast<Clock::duration>(std::chrono::seconds(time.tv_sec)));
}

/// Every regular file that wasn't changed since `limit`. A directory that can't be read has none.
void for_each_old(const std::string& directory, Clock::time_point limit,
                  const std::function<void(const stdfs::path& path, const struct stat& status)>& visit) {
  std::error_code failed;
  for (stdfs::directory_iterator each(directory, failed); !failed && each != stdfs::directory_iterator();
       each.increment(failed)) {
    struct stat status{};
    if (::lstat(each->path().c_str(), &status) == 0 && S_ISREG(status.st_mode) && to_time(status.st_mtim) <= limit) {
      visit(each->path(), status);
    }
  }
}

}  // namespace

Clock::time_point last_use(const struct stat& status) {
  return std::max(to_time(status.st_atim), to_time(status.st_mtim));
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
    return;  // they take no space
  }
  for_each_old(directory, Clock::now() - kLockAge, [&](const stdfs::path& path, const struct stat& status) {
    if (!path.filename().string().ends_with(ending)) {
      return;
    }
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    struct stat opened{};
    // With the lock in hand, as its holder would: who waits for it sees that the file is gone and makes a new one.
    if (fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 && ::fstat(fd.get(), &opened) == 0 &&
        opened.st_ino == status.st_ino && opened.st_dev == status.st_dev) {
      ::unlink(path.c_str());
    }
  });
}

}  // namespace pkgfs::leftovers
