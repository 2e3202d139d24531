// SPDX-License-Identifier: MIT
#include "daemon/commands/tree_mover.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <ranges>
#include <utility>

#include "core/base/error.h"

namespace pkgfs {

namespace {

constexpr int kMergedFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr mode_t kPermissions = 07777;

std::array<timespec, 2> times_of(const struct stat& status) { return {status.st_atim, status.st_mtim}; }

/// The names in a directory; none and errno if it can't be read.
std::optional<std::vector<std::string>> names_in(int directory) {
  UniqueFd copy(::openat(directory, ".", kMergedFlags));
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(copy ? ::fdopendir(copy.get()) : nullptr, ::closedir);
  if (dir == nullptr) {
    return std::nullopt;
  }
  (void)copy.release();
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(dir.get())) {  // NOLINT(concurrency-mt-unsafe): our own stream
    std::string name = static_cast<const char*>(entry->d_name);
    if (name != "." && name != "..") {
      names.push_back(std::move(name));
    }
  }
  return errno == 0 ? std::optional(std::move(names)) : std::nullopt;
}

/// Renames an entry, which has `mode`. 0 or an errno number.
int rename_entry(int from, const std::string& name, int to, const std::string& new_name, mode_t mode) {
  // To move a directory changes its "..", for which the kernel wants the permission to write.
  const bool is_locked = S_ISDIR(mode) && (mode & S_IWUSR) == 0;
  if (is_locked) {
    ::fchmodat(from, name.c_str(), (mode & kPermissions) | S_IWUSR, 0);
  }
  const int error = ::renameat(from, name.c_str(), to, new_name.c_str()) == 0 ? 0 : errno;
  if (is_locked) {
    ::fchmodat(error == 0 ? to : from, (error == 0 ? new_name : name).c_str(), mode & kPermissions, 0);
  }
  return error;
}

}  // namespace

TreeMover::TreeMover(int from, int to, int aside, std::string name, const CancelFlag& cancel)
    : from_(from), to_(to), aside_(aside), name_(std::move(name)), cancel_(cancel) {}

void TreeMover::fail(std::size_t directory, const std::string& name, int error) const {
  std::string path = name.empty() ? "" : "/" + name;
  for (; directory != 0; directory = directories_[directory].parent) {
    path.insert(0, "/" + directories_[directory].name);
  }
  throw system_error("Unable to write \"" + name_ + path + "\"", error);
}

UniqueFd TreeMover::open(int root, std::size_t directory) const {
  std::vector<const char*> way;
  for (; directory != 0; directory = directories_[directory].parent) {
    way.push_back(directories_[directory].name.c_str());
  }
  UniqueFd here(::openat(root, ".", kMergedFlags));
  for (const char* name : way | std::views::reverse) {
    here = UniqueFd(::openat(here.get(), name, kMergedFlags));
  }
  return here;
}

void TreeMover::run() {
  Directory root{.parent = 0, .name = {}, .moved = {}, .before = {}};
  if (::fstat(from_, &root.moved) != 0 || ::fstat(to_, &root.before) != 0 || ::fchmod(from_, S_IRWXU) != 0) {
    fail(0, "", errno);
  }
  directories_.push_back(std::move(root));
  for (std::size_t i = 0; i < directories_.size(); ++i) {
    move_entries(i);
  }
}

void TreeMover::move_entries(std::size_t directory) {
  const UniqueFd from = open(from_, directory);
  const UniqueFd to = from ? open(to_, directory) : UniqueFd();
  const auto names = to ? names_in(from.get()) : std::nullopt;
  if (!names) {
    fail(directory, "", errno);
  }
  for (const std::string& name : *names) {
    move(directory, from.get(), to.get(), name);
  }
  const struct stat moved = directories_[directory].moved;
  if ((directory != 0 && ::fchmod(to.get(), moved.st_mode & kPermissions) != 0) ||
      ::futimens(to.get(), times_of(moved).data()) != 0) {
    fail(directory, "", errno);
  }
}

void TreeMover::move(std::size_t directory, int from, int to, const std::string& name) {
  if (cancel_.is_cancelled()) {
    throw Error(ErrorCode::kInterrupted, "Writing \"" + name_ + "\" was interrupted");
  }
  Directory both{.parent = directory, .name = name, .moved = {}, .before = {}};
  if (::fstatat(from, name.c_str(), &both.moved, AT_SYMLINK_NOFOLLOW) != 0) {
    fail(directory, name, errno);
  }
  const bool exists = ::fstatat(to, name.c_str(), &both.before, AT_SYMLINK_NOFOLLOW) == 0;
  if (!exists && errno != ENOENT) {
    fail(directory, name, errno);
  }
  Move made{.directory = directory, .name = name, .replaced = std::nullopt};
  if (exists) {
    const bool is_directory = S_ISDIR(both.moved.st_mode);
    if (is_directory != S_ISDIR(both.before.st_mode)) {
      fail(directory, name, is_directory ? ENOTDIR : EISDIR);
    }
    if (is_directory) {
      if (::fchmodat(from, name.c_str(), S_IRWXU, 0) != 0) {
        fail(directory, name, errno);
      }
      directories_.push_back(std::move(both));
      return;
    }
    made.replaced = put_aside(directory, to, name);
  }
  moves_.push_back(std::move(made));  // before the rename: `undo` puts back what is aside
  if (const int error = rename_entry(from, name, to, name, both.moved.st_mode)) {
    fail(directory, name, error);
  }
}

std::string TreeMover::put_aside(std::size_t directory, int to, const std::string& name) {
  std::string aside = std::to_string(moves_.size());
  // A link leaves no moment without the entry. Some file systems have none, and the kernel may forbid it.
  if (::linkat(to, name.c_str(), aside_, aside.c_str(), 0) != 0 &&
      ::renameat(to, name.c_str(), aside_, aside.c_str()) != 0) {
    fail(directory, name, errno);
  }
  return aside;
}

bool TreeMover::undo() {
  for (std::size_t i = 0; i < directories_.size(); ++i) {  // parents first: a new mode may forbid the way
    const UniqueFd to = open(to_, i);
    ::fchmod(to.get(), directories_[i].before.st_mode & kPermissions);
  }
  bool complete = true;
  for (const Move& move : moves_ | std::views::reverse) {
    const UniqueFd from = open(from_, move.directory);
    const UniqueFd to = open(to_, move.directory);
    struct stat status{};
    const bool is_back = ::fstatat(from.get(), move.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (!is_back && ::fstatat(to.get(), move.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
      rename_entry(to.get(), move.name, from.get(), move.name, status.st_mode);
    }
    if (move.replaced && ::renameat(aside_, move.replaced->c_str(), to.get(), move.name.c_str()) != 0) {
      complete = false;
    }
  }
  for (std::size_t i = 0; i < directories_.size(); ++i) {
    const UniqueFd to = open(to_, i);
    ::futimens(to.get(), times_of(directories_[i].before).data());
  }
  return complete;
}

}  // namespace pkgfs
