// SPDX-License-Identifier: MIT
#include "core/cache/containers_by_hash.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/cache/cache_files.h"
#include "core/cache/file_hash.h"
#include "core/cache/lazy_files.h"

namespace pkgfs {
namespace {

constexpr std::string_view kEnding = ".bin";
constexpr std::string_view kSetAside = ".bin.corrupt-";
constexpr ::mode_t kWritable = 0222;

}  // namespace

std::string ContainersByHash::path_of(const Sha256& hash) const {
  return directory_ + "/" + to_hex(hash) + std::string(kEnding);
}

std::optional<std::string> ContainersByHash::find(const Sha256& hash) {
  std::string path = path_of(hash);
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return std::nullopt;
    }
    // The directory is at fault, not this entry.
    throw cache_files::unwritable(directory_, system_error("Unable to read \"" + path + "\"", errno));
  }
  if (!S_ISREG(status.st_mode)) {
    set_aside(hash, "it isn't a regular file");
    return std::nullopt;
  }
  if (::faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) != 0) {
    if (errno == ENOMEM) {
      throw system_error("Unable to read \"" + path + "\"", errno);
    }
    if (errno != ENOENT) {
      set_aside(hash, system_error("it can't be read", errno).message());
    }
    return std::nullopt;
  }
  // Another user may have stored the file without hashing it, and may change it.
  const bool is_foreign = status.st_uid != ::geteuid() && status.st_uid != 0;
  if ((status.st_mode & kWritable) != 0 || is_foreign) {
    const std::optional<Sha256> actual = hash_or_set_aside(hash);
    if (!actual) {
      return std::nullopt;
    }
    if (*actual != hash) {
      set_aside(hash, "its content has the hash " + to_hex(*actual));
      return std::nullopt;
    }
    cache_files::make_read_only(path);  // if that fails, the entry is hashed again the next time
  }
  cache_files::mark_used(path);
  return path;
}

std::optional<Sha256> ContainersByHash::hash_or_set_aside(const Sha256& hash) {
  try {
    return content_hash({hash, path_of(hash), 0, {}});
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    set_aside(hash, error.what());
    return std::nullopt;
  }
}

void ContainersByHash::set_aside(const Sha256& hash, const std::string& why) {
  const std::string path = path_of(hash);
  const std::string aside = directory_ + "/" + to_hex(hash) + std::string(kSetAside) + std::to_string(::getpid());
  log::warn("the cached package \"{}\" is damaged and not used: {}", path, why);
  if (::rename(path.c_str(), aside.c_str()) != 0 && errno != ENOENT) {
    log::warn("\"{}\" can't be moved out of the way: {}", path, system_error("rename", errno).message());
  }
}

PartialEntry ContainersByHash::reserve(const Sha256& hash, const CancelFlag& cancel,
                                       std::optional<std::chrono::milliseconds> longest) {
  const std::string temporary = temporary_directory();
  const std::string name = to_hex(hash);
  return cache_files::in_directory<PartialEntry>(directory_, [&] {
    cache_files::require_control(directory_);  // before anything is made in the cache of another user
    const PrivateDirectory opened = PrivateDirectory::make(temporary);
    PrivateDirectory locks = PrivateDirectory::make(directory_ + "/.locks");
    std::call_once(prepared_, [&] {
      remove_leftovers(cache_files::kLockAge);
      remove_partial(lazy_files::kLongestUnused);
    });
    std::string part = opened.path_of(name + ".part");
    FileLock lock = cache_files::lock(std::move(locks), name, cancel, longest, part);
    return PartialEntry{std::move(part), std::move(lock)};
  });
}

std::string ContainersByHash::commit(const PartialEntry& partial, const UniqueFd& hashed, const Sha256& hash) {
  return commit(partial.part, hashed.get(), hash, cache_files::Replaced::kRemove);
}

std::string ContainersByHash::commit(const std::string& part, int hashed, const Sha256& hash) {
  return commit(part, hashed, hash, cache_files::Replaced::kLeave);
}

std::string ContainersByHash::commit(const std::string& part, int hashed, const Sha256& hash,
                                     cache_files::Replaced replaced) {
  std::string path = path_of(hash);
  cache_files::move_into_place(part, hashed, "package", path, replaced);
  // After the rename: a process that is killed in between leaves a writable entry, which is hashed once more. The other
  // order would leave a read-only partial file, which can't be continued. By the descriptor: Wasmer may have put its
  // own download there meanwhile, and pkgfs hasn't hashed that.
  ::fchmod(hashed, cache_files::kVerified);
  dirty_ = true;
  return path;
}

void ContainersByHash::sync() {
  if (dirty_.exchange(false)) {
    sync_directory(directory_);
  }
}

std::vector<ContainersByHash::Entry> ContainersByHash::entries() const {
  std::vector<Entry> found;
  std::error_code failed;
  for (const cache_files::File& file : cache_files::list(directory_, failed)) {
    const std::string_view name = file.name;
    const auto hash =
        name.ends_with(kEnding) ? sha256_from_hex(name.substr(0, name.size() - kEnding.size())) : std::nullopt;
    if (hash) {
      found.push_back({*hash, file.path, file.size, file.used});
    }
  }
  if (failed) {
    throw system_error("Could not read image cache dir: '" + directory_ + "'", failed.value());
  }
  std::ranges::sort(found, {}, &Entry::hash);
  return found;
}

std::optional<Sha256> ContainersByHash::content_hash(const Entry& entry) const {
  try {
    return hash_file(entry.path);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound) {
      return std::nullopt;
    }
    throw;
  }
}

void ContainersByHash::remove(const Entry& entry) {
  if (::unlink(entry.path.c_str()) != 0 && errno != ENOENT) {
    throw system_error("Unable to remove \"" + entry.path + "\"", errno);
  }
}

std::uint64_t ContainersByHash::remove_leftovers(std::chrono::seconds age, bool dry_run) {
  const auto limit = cache_files::Clock::now() - age;
  std::error_code ignored;
  const std::string locks = directory_ + "/.locks";
  cache_files::remove_stale_locks(PrivateDirectory::find(locks), "", dry_run);
  return cache_files::remove_old_parts(PrivateDirectory::find(temporary_directory()), limit, dry_run, locks, "") +
         cache_files::remove_old(PrivateDirectory::find_chosen(directory_, ignored), limit, dry_run,
                                 [](const std::string& name) { return name.find(kSetAside) != std::string::npos; });
}

std::uint64_t ContainersByHash::remove_partial(std::chrono::seconds age, bool dry_run) {
  return lazy_files::remove_old(PrivateDirectory::find(temporary_directory()), cache_files::Clock::now() - age,
                                dry_run);
}

}  // namespace pkgfs
