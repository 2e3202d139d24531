// SPDX-License-Identifier: MIT
#include "core/load/package_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "core/base/byte_source.h"
#include "core/base/log.h"

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;

constexpr std::string_view kEnding = ".bin";
constexpr std::string_view kSetAside = ".bin.corrupt-";
constexpr ::mode_t kVerified = 0444;  // what we checked ourselves can't be written any more
constexpr std::size_t kHashPiece = 4U << 20U;

std::chrono::system_clock::time_point to_time(const timespec& time) {
  return std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::seconds(time.tv_sec)));
}

/// By reading, so that a failing disk is an error and not a page of zeros.
Sha256 hash_of(const MappedFile& file) {
  Sha256Hasher hasher;
  std::vector<std::byte> piece(kHashPiece);
  for (std::uint64_t at = 0; at < file.size();) {
    const std::size_t length = std::min<std::uint64_t>(piece.size(), file.size() - at);
    if (const auto read = file.read(at, std::span(piece).first(length)); !read) {
      throw system_error("Unable to read \"" + file.name() + "\" at " + std::to_string(at), read.error());
    }
    hasher.update(std::span(piece).first(length));
    at += length;
  }
  return hasher.finish();
}

void mark_used(const std::string& path) {
  // The time of access, because the time of modification is shown with --mtime=container. A cache that belongs to
  // somebody else stays as it is.
  const std::array<timespec, 2> times{timespec{0, UTIME_NOW}, timespec{0, UTIME_OMIT}};
  ::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
}

}  // namespace

std::string PackageCache::path_of(const Sha256& hash) const {
  return directory_ + "/" + to_hex(hash) + std::string(kEnding);
}

std::optional<std::string> PackageCache::find(const Sha256& hash) {
  std::string path = path_of(hash);
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return std::nullopt;
    }
    throw system_error("Unable to read \"" + path + "\"", errno);
  }
  if (!S_ISREG(status.st_mode)) {
    set_aside(hash, "it isn't a regular file");
    return std::nullopt;
  }
  if ((status.st_mode & 0222U) != 0) {
    const Sha256 actual = hash_of(*MappedFile::open(path));
    if (actual != hash) {
      set_aside(hash, "its content has the hash " + to_hex(actual));
      return std::nullopt;
    }
    ::chmod(path.c_str(), kVerified);  // if we may; else it's hashed next time again
  }
  mark_used(path);
  return path;
}

void PackageCache::set_aside(const Sha256& hash, const std::string& why) {
  const std::string path = path_of(hash);
  const std::string aside = directory_ + "/" + to_hex(hash) + std::string(kSetAside) + std::to_string(::getpid());
  log::warn("the cached package \"{}\" is damaged and not used: {}", path, why);
  if (::rename(path.c_str(), aside.c_str()) != 0 && errno != ENOENT) {
    log::warn("\"{}\" can't be moved out of the way: {}", path, system_error("rename", errno).message());
  }
}

PackageCache::Slot PackageCache::reserve(const Sha256& hash, const CancelFlag& cancel) {
  const std::string temporary = directory_ + "/__temp__";
  const std::string locks = directory_ + "/.locks";
  std::call_once(prepared_, [&] {
    make_private_directory(temporary);
    make_private_directory(locks);
    constexpr auto kDay = std::chrono::hours(24);
    remove_leftovers(kDay);
  });
  const std::string name = to_hex(hash);
  return {temporary + "/" + name + ".part", locks + "/" + name, cancel};
}

std::string PackageCache::commit(const Slot& slot, const Sha256& hash) {
  std::string path = path_of(hash);
  if (::chmod(slot.part().c_str(), kVerified) != 0 || ::rename(slot.part().c_str(), path.c_str()) != 0) {
    throw system_error("Unable to save the downloaded package to \"" + path + "\"", errno);
  }
  sync_directory(directory_);
  return path;
}

std::vector<PackageCache::Entry> PackageCache::entries() const {
  std::vector<Entry> found;
  std::error_code failed;
  stdfs::directory_iterator each(directory_, failed);
  if (failed == std::errc::no_such_file_or_directory) {
    return found;
  }
  for (; !failed && each != stdfs::directory_iterator(); each.increment(failed)) {
    const std::string name = each->path().filename().string();
    if (!name.ends_with(kEnding)) {
      continue;
    }
    const auto hash = sha256_from_hex(std::string_view(name).substr(0, name.size() - kEnding.size()));
    struct stat status{};
    if (!hash || ::lstat(each->path().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
      continue;
    }
    found.push_back({*hash, each->path().string(), static_cast<std::uint64_t>(status.st_size),
                     std::max(to_time(status.st_atim), to_time(status.st_mtim))});
  }
  if (failed) {
    throw system_error("Could not read image cache dir: '" + directory_ + "'", failed.value());
  }
  std::sort(found.begin(), found.end(), [](const Entry& a, const Entry& b) { return a.hash < b.hash; });
  return found;
}

std::optional<Sha256> PackageCache::content_hash(const Entry& entry) const {
  try {
    return hash_of(*MappedFile::open(entry.path));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound) {
      return std::nullopt;
    }
    throw;
  }
}

void PackageCache::remove(const Entry& entry) noexcept { ::unlink(entry.path.c_str()); }

std::uint64_t PackageCache::remove_leftovers(std::chrono::seconds age, bool dry_run) {
  const auto limit = std::chrono::system_clock::now() - age;
  std::uint64_t freed = 0;
  const auto look = [&](const std::string& directory, auto&& is_ours) {
    std::error_code failed;
    for (stdfs::directory_iterator each(directory, failed); !failed && each != stdfs::directory_iterator();
         each.increment(failed)) {
      struct stat status{};
      if (!is_ours(each->path().filename().string()) || ::lstat(each->path().c_str(), &status) != 0 ||
          !S_ISREG(status.st_mode) || to_time(status.st_mtim) > limit) {
        continue;
      }
      if (dry_run || ::unlink(each->path().c_str()) == 0) {
        freed += static_cast<std::uint64_t>(status.st_size);
      }
    }
  };
  look(directory_ + "/__temp__", [](const std::string&) { return true; });
  look(directory_, [](const std::string& name) { return name.find(kSetAside) != std::string::npos; });
  return freed;
}

}  // namespace pkgfs
