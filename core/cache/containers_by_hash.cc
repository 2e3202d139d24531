// SPDX-License-Identifier: MIT
#include "core/cache/containers_by_hash.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "core/base/byte_source.h"
#include "core/base/log.h"
#include "core/cache/leftovers.h"
#include "core/net/download.h"

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;

constexpr std::string_view kEnding = ".bin";
constexpr std::string_view kSetAside = ".bin.corrupt-";
constexpr ::mode_t kVerified = 0444;  // what we checked ourselves can't be written any more
constexpr std::size_t kHashPiece = 4U << 20U;

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
    throw system_error("Unable to read \"" + path + "\"", errno);  // the directory's fault: another file won't help
  }
  if (!S_ISREG(status.st_mode)) {
    set_aside(hash, "it isn't a regular file");
    return std::nullopt;
  }
  if (::faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) != 0) {
    if (errno != ENOENT) {
      set_aside(hash, system_error("it can't be read", errno).message());
    }
    return std::nullopt;
  }
  if ((status.st_mode & 0222U) != 0) {
    const std::optional<Sha256> actual = hash_or_set_aside(hash);
    if (!actual) {
      return std::nullopt;
    }
    if (*actual != hash) {
      set_aside(hash, "its content has the hash " + to_hex(*actual));
      return std::nullopt;
    }
    ::chmod(path.c_str(), kVerified);  // if we may; else it's hashed next time again
  }
  mark_used(path);
  return path;
}

std::optional<Sha256> ContainersByHash::hash_or_set_aside(const Sha256& hash) {
  try {
    return content_hash({hash, path_of(hash), 0, {}});
  } catch (const Error& error) {
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

ContainersByHash::Slot ContainersByHash::reserve(const Sha256& hash, const CancelFlag& cancel) {
  const std::string temporary = directory_ + "/__temp__";
  const std::string locks = directory_ + "/.locks";
  std::call_once(prepared_, [&] {
    make_private_directory(temporary);
    make_private_directory(locks);
    remove_leftovers(leftovers::kLockAge);
  });
  const std::string name = to_hex(hash);
  Slot slot(temporary + "/" + name + ".part", locks + "/" + name, cancel);
  if (::faccessat(AT_FDCWD, slot.part().c_str(), W_OK, AT_EACCESS) != 0 && errno == EACCES) {
    discard_download(slot.part());  // somebody else's, or from a pkgfs that made it read-only before its rename
  }
  return slot;
}

std::string ContainersByHash::commit(const Slot& slot, const Sha256& hash) {
  std::string path = path_of(hash);
  if (::rename(slot.part().c_str(), path.c_str()) != 0) {
    throw system_error("Unable to save the downloaded package to \"" + path + "\"", errno);
  }
  // Only now: who is killed in between leaves an entry that is hashed once more, not a part that can't be opened.
  ::chmod(path.c_str(), kVerified);
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
    found.push_back(
        {*hash, each->path().string(), static_cast<std::uint64_t>(status.st_size), leftovers::last_use(status)});
  }
  if (failed) {
    throw system_error("Could not read image cache dir: '" + directory_ + "'", failed.value());
  }
  std::sort(found.begin(), found.end(), [](const Entry& a, const Entry& b) { return a.hash < b.hash; });
  return found;
}

std::optional<Sha256> ContainersByHash::content_hash(const Entry& entry) const {
  try {
    return hash_of(*MappedFile::open(entry.path));
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
  const auto limit = std::chrono::system_clock::now() - age;
  leftovers::remove_stale_locks(directory_ + "/.locks", "", dry_run);
  return leftovers::remove_old(directory_ + "/__temp__", limit, dry_run, [](const std::string&) { return true; }) +
         leftovers::remove_old(directory_, limit, dry_run,
                               [](const std::string& name) { return name.find(kSetAside) != std::string::npos; });
}

}  // namespace pkgfs
