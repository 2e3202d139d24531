// SPDX-License-Identifier: MIT
#include "core/cache/containers_by_url.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/cache/cache_files.h"
#include "core/cache/file_hash.h"
#include "core/cache/lazy_files.h"
#include "core/net/url.h"

namespace pkgfs {
namespace {

constexpr std::string_view kEtag = ".etag";
constexpr std::string_view kDate = ".modified";
constexpr std::string_view kHash = ".sha256";
constexpr std::string_view kLock = ".lock";
constexpr std::size_t kEtagBytes = 4096;

std::string etag_path(const std::string& path) { return path + std::string(kEtag); }
std::string date_path(const std::string& path) { return path + std::string(kDate); }
std::string hash_path(const std::string& path) { return path + std::string(kHash); }

/// The content of an ETag file or its like; nothing if there is none. One that pkgfs didn't write is removed.
std::optional<std::string> read_beside(const std::string& path) {
  try {
    return read_own_file(path, kEtagBytes);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCorrupt || ::unlink(path.c_str()) != 0) {
      throw;
    }
    log::warn("{}; it was removed", error.what());
    return std::nullopt;
  }
}

void touch(const std::string& path) {
  const std::array<timespec, 2> times{timespec{0, UTIME_NOW}, timespec{0, UTIME_NOW}};
  ::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
}

/// When the file was last modified; nothing if it isn't a regular file.
std::optional<std::time_t> modified(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) ? std::optional(status.st_mtim.tv_sec)
                                                                        : std::nullopt;
}

std::string text_of(const struct stat& status) {
  return fmt::format(" {} {} {}.{:09}", status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

/// What changes with the content of the regular file at `path`. Nothing if there is no such file, or if another user
/// may change it and then set these values.
std::optional<std::string> trusted_state_of(const std::string& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode) ||
      (status.st_uid != ::geteuid() && status.st_uid != 0)) {
    return std::nullopt;
  }
  return text_of(status);
}

}  // namespace

std::string ContainersByUrl::key_of(const Url& url) { return to_upper_hex(sha256(url.text())); }

std::string ContainersByUrl::path_of(const Url& url) const { return directory_ + "/" + key_of(url); }

std::optional<ContainersByUrl::Found> ContainersByUrl::find(const Url& url) const {
  Found found{path_of(url), std::nullopt};
  const std::optional<std::time_t> stored = modified(found.path);
  if (!stored) {
    return std::nullopt;
  }
  cache_files::mark_used(found.path);
  // The server has confirmed the entry when the file beside it was last modified.
  const std::time_t now = std::time(nullptr);
  constexpr std::time_t kTick = 1;  // time(2) may lag behind the times that the kernel gives to files
  for (const auto& time : {stored, modified(etag_path(found.path)), modified(date_path(found.path))}) {
    if (time && *time <= now + kTick) {
      const std::chrono::seconds age(std::max<std::time_t>(now - *time, 0));
      found.age = std::min(found.age.value_or(age), age);
    }
  }
  return found;
}

std::optional<std::string> ContainersByUrl::etag_of(const Url& url) const {
  return read_beside(etag_path(path_of(url)));
}

std::optional<std::string> ContainersByUrl::date_of(const Url& url) const {
  return read_beside(date_path(path_of(url)));
}

std::optional<Sha256> ContainersByUrl::content_hash(const Url& url) const {
  constexpr std::size_t kMostText = 256;
  constexpr std::size_t kDigits = 64;
  const std::string path = path_of(url);
  if (!modified(path)) {
    return std::nullopt;
  }
  const std::optional<std::string> state = trusted_state_of(path);
  try {
    std::error_code ignored;
    const auto directory = PrivateDirectory::find_chosen(directory_, ignored);
    const auto known = directory && state ? directory->read_file(hash_path(key_of(url)), kMostText) : std::nullopt;
    if (known && known->size() > kDigits && known->substr(kDigits) == *state) {
      if (const auto hash = sha256_from_hex(known->substr(0, kDigits))) {
        return hash;
      }
    }
  } catch (const Error& error) {
    log::debug("{}", error);
  }
  const Sha256 hash = hash_file(path);
  if (state && trusted_state_of(path) == state) {
    try {
      write_file_atomically(hash_path(path), to_hex(hash) + *state, Durability::kUnsynced);
    } catch (const Error& error) {
      log::debug("{}", error);  // then the next process hashes it, too
    }
  }
  return hash;
}

std::string ContainersByUrl::state_of(const Url& url) const {
  struct stat status{};
  return ::lstat(path_of(url).c_str(), &status) == 0 ? text_of(status) : std::string();
}

void ContainersByUrl::mark_current(const Url& url) {
  // Not the entry: it may be mounted, and a file whose time of modification changes counts as changed.
  const std::string path = path_of(url);
  touch(etag_path(path));
  touch(date_path(path));
}

PartialEntry ContainersByUrl::reserve(const Url& url, const CancelFlag& cancel,
                                      std::optional<std::chrono::milliseconds> longest) {
  const std::string temporary = temporary_directory();
  const std::string key = key_of(url);
  return cache_files::in_directory<PartialEntry>(directory_, [&] {
    cache_files::require_control(directory_);  // before anything is made in the cache of another user
    PrivateDirectory opened = PrivateDirectory::make(temporary);
    std::call_once(prepared_, [&] { remove_partial(lazy_files::kLongestUnused); });
    std::string part = opened.path_of(key + ".part");
    FileLock lock = cache_files::lock(std::move(opened), key + std::string(kLock), cancel, longest, part);
    return PartialEntry{std::move(part), std::move(lock)};
  });
}

std::string ContainersByUrl::commit(const PartialEntry& partial, const UniqueFd& downloaded, const Url& url,
                                    const std::optional<std::string>& etag, const std::optional<std::string>& date) {
  return commit(partial.part, downloaded.get(), url, etag, date, cache_files::Replaced::kRemove);
}

std::string ContainersByUrl::commit(const std::string& part, int downloaded, const Url& url,
                                    const std::optional<std::string>& etag, const std::optional<std::string>& date) {
  return commit(part, downloaded, url, etag, date, cache_files::Replaced::kLeave);
}

std::string ContainersByUrl::commit(const std::string& part, int downloaded, const Url& url,
                                    const std::optional<std::string>& etag, const std::optional<std::string>& date,
                                    cache_files::Replaced replaced) {
  std::string path = path_of(url);
  ::unlink(etag_path(path).c_str());  // a process that dies now must not leave the old ETag beside the new file
  ::unlink(date_path(path).c_str());
  ::unlink(hash_path(path).c_str());
  cache_files::move_into_place(part, downloaded, "file", path, replaced);
  touch(path);
  if (etag) {
    write_file_atomically(etag_path(path), *etag, Durability::kUnsynced);
  } else if (date) {
    write_file_atomically(date_path(path), *date, Durability::kUnsynced);
  }
  sync_directory(directory_);
  return path;
}

std::vector<ContainersByUrl::Entry> ContainersByUrl::entries() const {
  std::vector<Entry> found;
  std::error_code failed;
  for (const cache_files::File& file : cache_files::list(directory_, failed)) {
    if (sha256_from_hex(file.name)) {
      found.push_back({file.name, file.path, file.size, file.used});
    }
  }
  if (failed) {
    throw system_error("Unable to read the directory \"" + directory_ + "\"", failed.value());
  }
  return found;
}

void ContainersByUrl::remove(const std::string& path) {
  // The ETag last: without a file it is harmless, while an old ETag beside a new file would be believed.
  for (const std::string& each : {path, etag_path(path), date_path(path), hash_path(path)}) {
    if (::unlink(each.c_str()) != 0 && errno != ENOENT) {
      throw system_error("Unable to remove \"" + each + "\"", errno);
    }
  }
}

bool ContainersByUrl::remove_if_free(const Entry& entry) {
  auto locks = PrivateDirectory::find(temporary_directory());
  if (!locks) {
    remove(entry.path);  // no process can hold the lock of `reserve`
    return true;
  }
  const auto lock = FileLock::take_if_free(*std::move(locks), entry.key + std::string(kLock));
  if (lock) {
    remove(entry.path);
  }
  return lock.has_value();
}

std::uint64_t ContainersByUrl::remove_leftovers(std::chrono::seconds age, bool dry_run) {
  const auto limit = cache_files::Clock::now() - age;
  const std::string path = temporary_directory();
  const auto temporary = PrivateDirectory::find(path);
  cache_files::remove_stale_locks(temporary, kLock, dry_run);
  const std::uint64_t parts = cache_files::remove_old_parts(temporary, limit, dry_run, path, std::string(kLock));
  std::error_code ignored;
  const auto here = PrivateDirectory::find_chosen(directory_, ignored);
  const std::uint64_t etags = cache_files::remove_old(here, limit, dry_run, [&](const std::string& name) {
    for (const std::string_view ending : {kEtag, kDate, kHash}) {
      if (const std::size_t at = name.find(ending); at != std::string::npos) {
        const bool is_half_written = at + ending.size() < name.size();  // the temporary name of an atomic write
        std::error_code unknown;
        return is_half_written || !std::filesystem::exists(directory_ + "/" + name.substr(0, at), unknown);
      }
    }
    return false;
  });
  return parts + etags;
}

std::uint64_t ContainersByUrl::remove_partial(std::chrono::seconds age, bool dry_run) {
  return lazy_files::remove_old(PrivateDirectory::find(temporary_directory()), cache_files::Clock::now() - age,
                                dry_run);
}

}  // namespace pkgfs
