// SPDX-License-Identifier: MIT
#include "core/base/private_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <filesystem>
#include <memory>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"

namespace pkgfs {
namespace {

constexpr int kOpenDirectory = O_PATH | O_DIRECTORY | O_CLOEXEC;
// O_NONBLOCK: opening a FIFO or a device must not wait.
constexpr int kOpenFile = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
constexpr ::mode_t kOthersWrite = S_IWGRP | S_IWOTH;

bool is_own_or_roots(const struct stat& status) { return status.st_uid == ::geteuid() || status.st_uid == 0; }

/// Whether `name` is a symbolic link that no other user can have put into the directory `above`.
bool is_link_of_ours(int above, const std::string& name) {
  struct stat link{};
  struct stat directory{};
  return ::fstatat(above, name.c_str(), &link, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(link.st_mode) &&
         is_own_or_roots(link) && ::fstat(above, &directory) == 0 && is_own_or_roots(directory) &&
         (directory.st_mode & kOthersWrite) == 0;
}

/// Opens the directory `name` of `above`, also where a link of ours leads to. Else none, and errno says why.
UniqueFd open_directory(int above, const std::string& name) {
  UniqueFd fd(::openat(above, name.c_str(), kOpenDirectory | O_NOFOLLOW));
  if (fd) {
    return fd;
  }
  const int errnum = errno;
  if (is_link_of_ours(above, name)) {
    return UniqueFd(::openat(above, name.c_str(), kOpenDirectory));
  }
  errno = errnum;
  return fd;
}

/// The status of a new file of mode 0600 in `directory`, which is removed again. Empty if none can be made.
std::optional<struct stat> status_of_new_file(int directory) {
  std::random_device random;
  const std::string name = fmt::format(".owner-{:08x}", random());
  const UniqueFd fd(::openat(directory, name.c_str(), O_RDWR | O_CREAT | O_EXCL | kOpenFile, 0600));
  struct stat status{};
  if (!fd) {
    return std::nullopt;
  }
  ::unlinkat(directory, name.c_str(), 0);
  return ::fstat(fd.get(), &status) == 0 ? std::optional(status) : std::nullopt;
}

/// Whether a new file in `directory` gets the owner `user`, another one than this process has. Some file systems of
/// servers name one owner for all files. Then the owner of the directory tells nothing.
bool gives_files_to(int directory, uid_t user) {
  const auto status = status_of_new_file(directory);
  return status && status->st_uid == user;
}

/// Whether others seem to be able to write a new file in `directory` of mode 0600: some file systems, such as FAT and
/// shared folders of virtual machines, show one mode for all files. Then the mode of the directory tells nothing.
bool has_fixed_modes(int directory) {
  const auto status = status_of_new_file(directory);
  return status && (status->st_mode & kOthersWrite) != 0;
}

/// `a symbolic link to "/etc/passwd"`, `a file of user 1000`, and so on, of the entry `name` of `directory`.
std::string kind_of(int directory, const std::string& name, const struct stat& status) {
  switch (status.st_mode & static_cast<unsigned>(S_IFMT)) {
    case S_IFLNK: {
      std::array<char, PATH_MAX> target{};
      const ssize_t length = ::readlinkat(directory, name.c_str(), target.data(), target.size());
      return "a symbolic link to \"" + std::string(target.data(), length < 0 ? 0 : static_cast<std::size_t>(length)) +
             "\"";
    }
    case S_IFDIR:
      return "a directory";
    case S_IFREG:
      return status.st_nlink > 1 ? "a file with other names" : "a file of user " + std::to_string(status.st_uid);
    default:
      return "neither a file nor a directory";
  }
}

/// The types of entries that can be in the way.
enum class Obstacle {
  kLink,    // of a directory
  kNoFile,  // of a lock: another process may hold a regular file
  kAny,
};

bool is_obstacle(const struct stat& status, Obstacle obstacle) {
  return obstacle == Obstacle::kAny ||
         (obstacle == Obstacle::kLink ? S_ISLNK(status.st_mode) : !S_ISREG(status.st_mode));
}

/// Removes the entry `name` of `directory`, which is at `path`, because it is in the way. Does nothing if another
/// process has already put something else in its place. `errnum`: why it can't be used as it is, if it went unnoticed
/// what it is.
void remove_obstacle(int directory, const std::string& name, const std::string& path, int errnum, Obstacle obstacle) {
  struct stat status{};
  if (::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) {
      return;
    }
    throw system_error("Unable to open '" + path + "'", errnum);
  }
  if (!is_obstacle(status, obstacle)) {
    return;
  }
  const std::string kind = kind_of(directory, name, status);
  if (::unlinkat(directory, name.c_str(), S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0) == 0) {
    log::warn("removed \"{}\", {}: pkgfs uses only files and directories of its own there", path, kind);
    return;
  }
  if (errno == ENOENT) {
    return;
  }
  throw system_error("\"" + path + "\" is " + kind + ", which pkgfs doesn't use. It belongs to user " +
                         std::to_string(status.st_uid) + " and must be removed, but pkgfs can't",
                     errno);
}

/// Whether the open file `fd` of `directory`, which was there already, can be taken for ours. File systems of servers
/// may name another owner for all files: then it is that of the directory, to which no other user may write.
bool is_usable(int fd, int directory, PrivateDirectory::Content content) {
  struct stat status{};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    return false;
  }
  if (content == PrivateDirectory::Content::kNone) {
    return true;
  }
  struct stat above{};
  const bool is_of_owner =
      ::fstat(directory, &above) == 0 && status.st_uid == above.st_uid && (above.st_mode & kOthersWrite) == 0;
  return (status.st_uid == ::geteuid() || is_of_owner) && status.st_nlink <= 1;
}

}  // namespace

PrivateDirectory PrivateDirectory::make(const std::string& path) {
  const std::filesystem::path whole(path);
  const std::string parent = whole.has_parent_path() ? whole.parent_path().string() : ".";
  const std::string name = whole.filename();
  make_private_directory(parent);
  const UniqueFd above(::open(parent.c_str(), kOpenDirectory));
  int errnum = errno;
  constexpr int kAttempts = 10;  // another process may make, remove or plant it at the same time
  for (int i = 0; above && i < kAttempts; ++i) {
    UniqueFd fd = open_directory(above.get(), name);
    if (fd) {
      PrivateDirectory made(std::move(fd), path);
      made.require_control();
      return made;
    }
    errnum = errno;
    if (errnum == ENOENT) {
      if (::mkdirat(above.get(), name.c_str(), 0700) == 0 || errno == EEXIST) {
        continue;
      }
      errnum = errno;
      break;
    }
    struct stat status{};
    if ((errnum != ENOTDIR && errnum != ELOOP) ||
        ::fstatat(above.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISLNK(status.st_mode) ||
        is_link_of_ours(above.get(), name)) {
      break;
    }
    remove_obstacle(above.get(), name, path, errnum, Obstacle::kLink);
  }
  throw cannot_create_directory(path, errnum);
}

std::optional<PrivateDirectory> PrivateDirectory::find(const std::string& path) {
  const std::filesystem::path whole(path);
  const UniqueFd above(::open(whole.has_parent_path() ? whole.parent_path().c_str() : ".", kOpenDirectory));
  UniqueFd fd = above ? open_directory(above.get(), whole.filename()) : UniqueFd();
  if (!fd && errno != ENOENT && errno != ENOTDIR && errno != ELOOP) {
    throw system_error("Unable to open '" + path + "'", errno);
  }
  return fd ? std::optional(PrivateDirectory(std::move(fd), path)) : std::nullopt;
}

std::optional<PrivateDirectory> PrivateDirectory::find_chosen(const std::string& path, std::error_code& failed) {
  UniqueFd fd(::open(path.c_str(), kOpenDirectory));
  failed.assign(fd ? 0 : errno, std::generic_category());
  return fd ? std::optional(PrivateDirectory(std::move(fd), path)) : std::nullopt;
}

void PrivateDirectory::require_control() const {
  struct stat status{};
  if (::fstat(fd_.get(), &status) != 0) {
    throw system_error(fmt::format("Unable to open '{}'", path_), errno);
  }
  if (!is_own_or_roots(status) && !gives_files_to(fd_.get(), status.st_uid)) {
    throw Error(
        ErrorCode::kPermission,
        fmt::format(
            "\"{}\" belongs to user {}, who could replace what pkgfs writes there. Run pkgfs as that user, or "
            "use another cache (--cache-dir). If users share it, as root: chown root \"{}\" && chmod 1777 \"{}\"",
            path_, status.st_uid, path_, path_));
  }
  const auto is_safe = [&] { return (status.st_mode & kOthersWrite) == 0 || (status.st_mode & S_ISVTX) != 0; };
  constexpr ::mode_t kModeBits = 07777;
  if (is_safe()) {
    return;
  }
  const ::mode_t before = status.st_mode & kModeBits;
  if (::fchmodat(fd_.get(), ".", before | S_ISVTX, 0) == 0 && ::fstat(fd_.get(), &status) == 0 && is_safe()) {
    log::warn("\"{}\" now has the sticky bit (mode {:04o}, before {:04o}): other users could replace what pkgfs writes",
              path_, status.st_mode & kModeBits, before);
    return;
  }
  if (has_fixed_modes(fd_.get())) {
    return;
  }
  throw Error(ErrorCode::kPermission,
              fmt::format("other users could replace what pkgfs writes into \"{}\": its mode is {:04o}, without the "
                          "sticky bit. As user {}: chmod +t \"{}\"",
                          path_, status.st_mode & kModeBits, status.st_uid, path_));
}

UniqueFd PrivateDirectory::open_file(const std::string& name, Content content) const {
  constexpr int kAttempts = 10;  // another process may make, remove or plant it at the same time
  const ::mode_t mode = content == Content::kNone ? 0644 : 0600;
  for (int i = 0; i < kAttempts; ++i) {
    UniqueFd fd(::openat(fd_.get(), name.c_str(), O_RDWR | kOpenFile));
    if (!fd && errno == EACCES && content == Content::kNone) {
      fd.reset(::openat(fd_.get(), name.c_str(), O_RDONLY | kOpenFile));
    }
    int errnum = fd ? 0 : errno;
    if (fd && is_usable(fd.get(), fd_.get(), content)) {
      return fd;
    }
    if (errnum == ENOENT) {
      fd.reset(::openat(fd_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | kOpenFile, mode));
      if (fd) {
        return fd;  // it is ours, also where the file system of a server names another owner
      }
      if (errno == EEXIST) {
        continue;
      }
      errnum = errno;
    } else if (fd || errnum == ELOOP || errnum == EISDIR || errnum == ENXIO || errnum == EACCES) {
      struct stat status{};
      // A lock of another user may be held: without it, two processes would write one file.
      const bool is_lock = content == Content::kNone &&
                           ::fstatat(fd_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                           S_ISREG(status.st_mode);
      if (!is_lock) {
        remove_obstacle(fd_.get(), name, path_of(name), errnum,
                        content == Content::kNone ? Obstacle::kNoFile : Obstacle::kAny);
        continue;
      }
      if (errnum != EACCES) {
        continue;  // another process has put a lock in the place of an obstacle
      }
    }
    throw system_error("Unable to open '" + path_of(name) + "'", errnum);
  }
  throw Error(ErrorCode::kIo, "Unable to open '" + path_of(name) +
                                  "': another process puts something else in its place again and again");
}

UniqueFd PrivateDirectory::find_file(const std::string& name) const {
  UniqueFd fd(::openat(fd_.get(), name.c_str(), O_RDWR | kOpenFile));
  const int errnum = fd ? 0 : errno;
  if (!fd && errnum != ENOENT && errnum != ELOOP && errnum != EISDIR && errnum != ENXIO && errnum != EACCES) {
    throw system_error("Unable to open '" + path_of(name) + "'", errnum);
  }
  return fd && is_usable(fd.get(), fd_.get(), Content::kTrusted) ? std::move(fd) : UniqueFd();
}

std::optional<std::string> PrivateDirectory::read_file(const std::string& name, std::size_t limit) const {
  const std::string failed = fmt::format("Unable to read '{}'", path_of(name));
  const UniqueFd fd(::openat(fd_.get(), name.c_str(), O_RDONLY | kOpenFile));
  if (!fd && errno == ENOENT) {
    return std::nullopt;
  }
  if (!fd && errno != ELOOP) {
    throw system_error(failed, errno);
  }
  if (!fd || !is_usable(fd.get(), fd_.get(), Content::kTrusted)) {
    throw Error(ErrorCode::kCorrupt, fmt::format("{}: it isn't a file that pkgfs made for this user", failed));
  }
  return read_to_end(fd.get(), limit, failed);
}

void PrivateDirectory::write_file(const std::string& name, std::string_view text) const {
  const UniqueFd fd = open_file(name, Content::kTrusted);
  if (::ftruncate(fd.get(), 0) != 0) {
    throw system_error("Unable to write '" + path_of(name) + "'", errno);
  }
  write_all(fd.get(), text, path_of(name));
}

bool PrivateDirectory::remove(const std::string& name) const noexcept {
  return ::unlinkat(fd_.get(), name.c_str(), 0) == 0;
}

int PrivateDirectory::move_out(const std::string& name, const std::string& target) const {
  return ::renameat(fd_.get(), name.c_str(), AT_FDCWD, target.c_str()) == 0 ? 0 : errno;
}

void PrivateDirectory::for_each_file(
    std::error_code& failed,
    const std::function<void(const std::string& name, const struct stat& status)>& visit) const {
  UniqueFd fd(::openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(fd ? ::fdopendir(fd.get()) : nullptr, ::closedir);
  if (listing == nullptr) {
    failed.assign(errno, std::generic_category());
    return;
  }
  static_cast<void>(fd.release());
  errno = 0;
  while (const dirent* entry = ::readdir(listing.get())) {  // NOLINT(concurrency-mt-unsafe): a stream of its own
    struct stat status{};
    const std::string name(std::data(entry->d_name));
    if (::fstatat(fd_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode)) {
      visit(name, status);
    }
    errno = 0;
  }
  if (errno != 0) {
    failed.assign(errno, std::generic_category());
  }
}

}  // namespace pkgfs
