// SPDX-License-Identifier: MIT
#include "core/cache/containers_by_url.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/cache/leftovers.h"

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;

constexpr std::string_view kEtag = ".etag";

}  // namespace

std::vector<ContainersByUrl::Entry> ContainersByUrl::entries() const {
  std::vector<Entry> found;
  std::error_code failed;
  stdfs::directory_iterator each(directory_, failed);
  if (failed == std::errc::no_such_file_or_directory) {
    return found;
  }
  for (; !failed && each != stdfs::directory_iterator(); each.increment(failed)) {
    std::string key = each->path().filename().string();
    struct stat status{};
    if (sha256_from_hex(key) && ::lstat(each->path().c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
      found.push_back({std::move(key), each->path().string(), static_cast<std::uint64_t>(status.st_size),
                       leftovers::last_use(status)});
    }
  }
  if (failed) {
    throw system_error("Unable to read the directory \"" + directory_ + "\"", failed.value());
  }
  std::ranges::sort(found, {}, &Entry::key);
  return found;
}

void ContainersByUrl::remove(const Entry& entry) {
  // The ETag last: alone it is believed by nobody, while an old one beside a new file would be.
  for (const std::string& path : {entry.path, entry.path + std::string(kEtag)}) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
      throw system_error("Unable to remove \"" + path + "\"", errno);
    }
  }
}

std::uint64_t ContainersByUrl::remove_leftovers(std::chrono::seconds age, bool dry_run) {
  constexpr std::string_view kLock = ".lock";
  const auto limit = leftovers::Clock::now() - age;
  const std::string temporary = directory_ + "/__temp__";
  leftovers::remove_stale_locks(temporary, kLock, dry_run);
  const std::uint64_t parts =
      leftovers::remove_old(temporary, limit, dry_run, [&](const std::string& name) { return !name.ends_with(kLock); });
  return parts + leftovers::remove_old(directory_, limit, dry_run, [&](const std::string& name) {
           const std::size_t at = name.find(kEtag);
           if (at == std::string::npos) {
             return false;
           }
           // Half-written ones have random letters at their end.
           std::error_code unknown;
           return at + kEtag.size() < name.size() || !stdfs::exists(directory_ + "/" + name.substr(0, at), unknown);
         });
}

}  // namespace pkgfs
