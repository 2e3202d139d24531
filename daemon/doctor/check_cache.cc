// SPDX-License-Identifier: MIT
#include "daemon/doctor/check_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <system_error>

#include "core/base/error.h"
#include "core/base/system_limits.h"
#include "core/base/unique_fd.h"
#include "core/cache/containers_by_hash.h"
#include "daemon/cli/text_output.h"

namespace pkgfs::doctor {
namespace {

namespace stdfs = std::filesystem;

constexpr std::uint64_t kMebibyte = 1U << 20U;
constexpr std::uint64_t kFull = 16 * kMebibyte;
constexpr std::uint64_t kShort = 1024 * kMebibyte;
/// A younger file may belong to a download that is still running.
constexpr std::chrono::hours kLeftoverAge{1};

/// The errno number of an attempt to write into `directory`, or 0.
int write_error(const std::string& directory) {
  const UniqueFd file(::open(directory.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (file) {
    return 0;
  }
  const int error = errno;
  if (error != EOPNOTSUPP && error != EISDIR) {
    return error;
  }
  return ::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

/// `path`, or the nearest directory above it that exists.
std::string nearest(const std::string& path) {
  stdfs::path place = path;
  std::error_code error;
  while (!stdfs::exists(place, error) && place.has_relative_path()) {
    place = place.parent_path();
  }
  return place;
}

void check_space(Findings& findings, const std::string& place) {
  struct statvfs status{};
  if (::statvfs(place.c_str(), &status) != 0) {
    return;
  }
  const std::uint64_t free = status.f_bavail * status.f_frsize;
  const std::string said = size_text(free) + " are free";
  if (free < kShort) {
    findings.push_back({"space", free < kFull ? Level::kProblem : Level::kWarning,
                        "only " + said + " at " + printable(place),
                        "pkgfs cache prune --older-than 30d, or use another --cache-dir"});
  } else {
    findings.push_back({"space", Level::kOk, said, ""});
  }
}

void check_leftovers(Findings& findings, const std::string& cache_dir) {
  try {
    const std::uint64_t bytes = ContainersByHash(cache_dir + "/checkouts").remove_leftovers(kLeftoverAge, true);
    if (bytes > 0) {
      findings.push_back(
          {"downloads", Level::kWarning, size_text(bytes) + " of downloads that were broken off",
           "the next download of the same file continues; \"pkgfs cache prune --older-than 30d\" removes them"});
    } else {
      findings.push_back({"downloads", Level::kOk, "none was broken off", ""});
    }
  } catch (const Error& error) {
    findings.push_back(
        {"downloads", Level::kWarning, printable(error.message()), "check the permissions of the cache directory"});
  }
}

}  // namespace

void check_cache(Findings& findings, const std::string& cache_dir) {
  const std::string place = nearest(cache_dir);
  const std::string name = printable(cache_dir);
  struct stat status{};
  const int error = write_error(place);
  if (error != 0) {
    findings.push_back({"cache", Level::kProblem, fmt::format("{} can't be written: {}", name, errno_text(error)),
                        error == EMFILE ? kRaiseLimit
                        : error == EROFS
                            ? "set --cache-dir or WASMER_CACHE_DIR to a file system that can be written"
                            : fmt::format("as root: chown -R {} {}; or use another --cache-dir", ::geteuid(), name)});
  } else if (place != cache_dir) {
    findings.push_back({"cache", Level::kOk, name + " does not exist yet; it will be made", ""});
  } else if (::stat(cache_dir.c_str(), &status) == 0 && status.st_uid != ::geteuid()) {
    findings.push_back(
        {"cache", Level::kWarning,
         fmt::format("{} belongs to user {}, and you are user {}: the owner may not be able to use your downloads",
                     name, status.st_uid, ::geteuid()),
         "set WASMER_CACHE_DIR or HOME to a directory of your own"});
  } else {
    findings.push_back({"cache", Level::kOk, name + " can be written", ""});
  }
  check_space(findings, place);
  check_leftovers(findings, cache_dir);
}

}  // namespace pkgfs::doctor
