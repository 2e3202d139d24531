// SPDX-License-Identifier: MIT
#include "core/cache/lazy_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/unique_fd.h"

namespace pkgfs::lazy_files {
namespace {

using cache_files::Clock;
using cache_files::kLazy;
using cache_files::kLazyMap;

std::string map_of(const std::string& key) { return key + std::string(kLazyMap); }
std::string data_of(const std::string& key) { return key + std::string(kLazy); }

/// The key in the name of one of the files; nothing for any other name.
std::optional<std::string> key_in(const std::string& name) {
  for (const std::string_view ending : {kLazy, kLazyMap}) {
    if (name.size() > ending.size() && name.ends_with(ending)) {
      return name.substr(0, name.size() - ending.size());
    }
  }
  return std::nullopt;
}

void add(Pair& pair, const struct stat& status) {
  constexpr std::uint64_t kUnit = 512;  // of st_blocks
  pair.bytes += static_cast<std::uint64_t>(status.st_blocks) * kUnit;
  const Clock::time_point modified(
      std::chrono::duration_cast<Clock::duration>(std::chrono::seconds(status.st_mtim.tv_sec)));
  pair.used = std::max(pair.used, modified);
}

std::optional<struct stat> status_of(const PrivateDirectory& directory, const std::string& name) {
  struct stat status{};
  return ::fstatat(directory.fd(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 ? std::optional(status)
                                                                                    : std::nullopt;
}

Pair pair_of(const PrivateDirectory& directory, const std::string& key) {
  Pair pair{.key = key, .bytes = 0, .used = {}};
  for (const std::string& name : {map_of(key), data_of(key)}) {
    if (const auto status = status_of(directory, name)) {
      add(pair, *status);
    }
  }
  return pair;
}

/// Locks the open map `fd`. False if a process uses it, or if it isn't in place any more.
bool lock(const PrivateDirectory& directory, const std::string& key, int fd) {
  struct stat ours{};
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0 || ::fstat(fd, &ours) != 0) {
    return false;
  }
  const auto there = status_of(directory, map_of(key));
  return there && FileId(*there) == FileId(ours);
}

void remove_file(const PrivateDirectory& directory, const std::string& name) {
  if (!directory.remove(name) && errno != ENOENT) {
    throw system_error("Unable to remove \"" + directory.path_of(name) + "\"", errno);
  }
}

}  // namespace

std::vector<Pair> list(const PrivateDirectory& directory) {
  std::map<std::string, Pair> pairs;
  std::error_code ignored;
  directory.for_each_file(ignored, [&](const std::string& name, const struct stat& status) {
    if (const auto key = key_in(name)) {
      Pair& pair = pairs[*key];
      pair.key = *key;
      add(pair, status);
    }
  });
  std::vector<Pair> sorted;
  for (auto& [key, pair] : pairs) {
    sorted.push_back(std::move(pair));
  }
  return sorted;
}

bool is_in_use(const PrivateDirectory& directory, const std::string& key) {
  const UniqueFd map = directory.find_file(map_of(key));
  return map ? !lock(directory, key, map.get()) : status_of(directory, map_of(key)).has_value();
}

std::optional<std::uint64_t> remove(const PrivateDirectory& directory, const std::string& key,
                                    std::optional<Clock::time_point> limit) {
  const Pair before = pair_of(directory, key);
  const bool had_map = status_of(directory, map_of(key)).has_value();
  const auto is_young = [&](const Pair& pair) { return limit && pair.used > *limit; };
  if (is_young(before)) {
    return std::nullopt;
  }
  // Made if there is none: the lock keeps away a process that is about to make the pair.
  const UniqueFd map = directory.open_file(map_of(key), PrivateDirectory::Content::kTrusted);
  if (!lock(directory, key, map.get()) || (had_map && is_young(pair_of(directory, key)))) {
    return std::nullopt;
  }
  remove_file(directory, map_of(key));  // first: a map without its file is harmless, also after a power cut
  remove_file(directory, data_of(key));
  return before.bytes;
}

std::uint64_t remove_old(const std::optional<PrivateDirectory>& directory, Clock::time_point limit, bool dry_run) {
  std::uint64_t freed = 0;
  for (const Pair& pair : directory ? list(*directory) : std::vector<Pair>()) {
    if (pair.used > limit) {
      continue;
    }
    try {
      if (!dry_run) {
        freed += remove(*directory, pair.key, limit).value_or(0);
      } else if (!is_in_use(*directory, pair.key)) {
        freed += pair.bytes;
      }
    } catch (const Error& error) {
      log::debug("{}", error);
    }
  }
  return freed;
}

}  // namespace pkgfs::lazy_files
