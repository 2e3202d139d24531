// SPDX-License-Identifier: MIT
#include "daemon/commands/tree_mover.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <ranges>
#include <sstream>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/system_limits.h"
#include "core/vfs/host_file_system.h"
#include "daemon/commands/extractor.h"

namespace pkgfs {

namespace {

constexpr int kMergedFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr mode_t kPermissions = 07777;

std::array<timespec, 2> times_of(const struct stat& status) { return {status.st_atim, status.st_mtim}; }

UniqueFd copy_of(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

UniqueFd open_child(int directory, const std::string& name) {
  return UniqueFd(::openat(directory, name.c_str(), kMergedFlags));
}

/// The same for a directory that had `mode` before it got one that may forbid to open it.
UniqueFd open_again(int directory, const std::string& name, mode_t mode) {
  UniqueFd opened = open_child(directory, name);
  if (!opened && errno == EACCES) {
    const UniqueFd place(::openat(directory, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    ::chmod(fmt::format("/proc/self/fd/{}", place.get()).c_str(), mode & kPermissions);
    opened = open_child(directory, name);
  }
  return opened;
}

/// The number of the mount that a directory is on; 0 if the kernel doesn't tell (before Linux 5.8).
std::uint64_t mount_of(int directory) {
  struct statx status{};
  const bool is_known = ::statx(directory, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) == 0;
  return is_known && (status.stx_mask & STATX_MNT_ID) != 0 ? status.stx_mnt_id : 0;
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

std::string text_of(int error) { return errno_text(error); }

}  // namespace

/// The area of a directory on another file system, and how to leave it.
struct TreeMover::Crossing {
  Crossing(UniqueFd directory, const std::string& what) : to(std::move(directory)), area(to.get(), "", what) {
    area.prepare(what);
  }

  UniqueFd to;
  StagingArea area;
  UniqueFd outer_from;
  UniqueFd outer_replaced;
  StagingArea* outer_area = nullptr;
};

TreeMover::TreeMover(StagingArea& area, int to, std::string name, const CancelFlag& cancel)
    : area_(area), to_(to), name_(std::move(name)), cancel_(cancel) {}

TreeMover::~TreeMover() = default;

std::string TreeMover::path_of(std::size_t directory, const std::string& name) const {
  std::vector<std::string_view> way;
  if (!name.empty()) {
    way.emplace_back(name);
  }
  for (; directory != 0; directory = directories_[directory].parent) {
    way.emplace_back(directories_[directory].name);
  }
  std::string path = name_;
  for (const std::string_view component : way | std::views::reverse) {
    path += '/';
    path += component;
  }
  return path;
}

void TreeMover::fail(std::size_t directory, const std::string& name, int error) const {
  throw system_error(fmt::format("Unable to write \"{}\"", path_of(directory, name)), error);
}

UniqueFd TreeMover::open_below(std::size_t directory) const {
  std::vector<const std::string*> way;
  for (; directory != 0; directory = directories_[directory].parent) {
    way.push_back(&directories_[directory].name);
  }
  UniqueFd here = open_child(to_, ".");
  for (const std::string* name : way | std::views::reverse) {
    if (here) {
      here = open_child(here.get(), *name);
    }
  }
  return here;
}

TreeMover::Place TreeMover::up(std::size_t directory) const {
  const std::size_t parent = directories_[directory].parent;
  const Crossing* const crossing = directories_[directory].crossing.get();
  Place place{.from = {}, .to = open_child(here_.to.get(), ".."), .replaced = {}, .area = here_.area};
  if (crossing != nullptr) {
    place.from = open_child(crossing->outer_from.get(), "..");
    place.replaced = open_child(crossing->outer_replaced.get(), "..");
    place.area = crossing->outer_area;
  } else {
    place.from = open_child(here_.from.get(), "..");
    place.replaced = open_child(here_.replaced.get(), "..");
  }
  // If another process moved the directory, ".." is another one than before.
  const struct stat& before = directories_[parent].before;
  struct stat status{};
  if (::fstat(place.to.get(), &status) != 0 || status.st_dev != before.st_dev || status.st_ino != before.st_ino) {
    place.to = open_below(parent);
  }
  return place;
}

void TreeMover::run() {
  struct stat moved{};
  if (::fstat(area_.fresh(), &moved) != 0 || ::fchmod(area_.fresh(), S_IRWXU) != 0) {
    fail(0, "", errno);
  }
  enter(0, "",
        {.from = open_child(area_.fresh(), "."),
         .to = open_child(to_, "."),
         .replaced = open_child(area_.replaced(), "."),
         .area = &area_},
        moved);
  while (!levels_.empty()) {
    Level& level = levels_.back();
    if (level.next < level.names.size()) {
      move(std::string(level.names[level.next++]));
    } else {
      leave();
    }
  }
}

void TreeMover::enter(std::size_t parent, const std::string& name, Place place, const struct stat& moved) {
  struct stat before{};
  if (!place.from || !place.to || !place.replaced || ::fstat(place.to.get(), &before) != 0) {
    fail(parent, name, errno);
  }
  const std::uint64_t mount = mount_of(place.to.get());
  const bool is_other =
      here_.to && (before.st_dev != directories_[parent].before.st_dev || mount != directories_[parent].mount);
  directories_.push_back({.parent = parent,
                          .name = name,
                          .moved = moved,
                          .before = before,
                          .mount = mount,
                          .moves = {},
                          .crossing = nullptr});
  levels_.push_back({.directory = directories_.size() - 1, .names = {}, .next = 0});
  here_ = std::move(place);
  if (is_other) {
    cross();
  }
  int failed = 0;
  levels_.back().names = entry_names(here_.from.get(), failed);
  if (failed != 0) {
    fail(levels_.back().directory, "", failed);
  }
}

void TreeMover::leave() {
  const std::size_t index = levels_.back().directory;
  const Directory& directory = directories_[index];
  Place parent = index == 0 ? Place() : up(index);
  if (index != 0 && (!parent.from || !parent.to || !parent.replaced)) {
    fail(index, "", errno);
  }
  const bool is_final = directory.crossing == nullptr;  // else `finish` removes the area, which changes the time
  if (is_final && ((index != 0 && ::fchmod(here_.to.get(), directory.moved.st_mode & kPermissions) != 0) ||
                   ::futimens(here_.to.get(), times_of(directory.moved).data()) != 0)) {
    fail(index, "", errno);
  }
  here_ = std::move(parent);
  levels_.pop_back();
}

void TreeMover::move(const std::string& name) {
  const std::size_t index = levels_.back().directory;
  const int from = here_.from.get();
  const int to = here_.to.get();
  if (cancel_.is_cancelled()) {
    throw Error(ErrorCode::kInterrupted, fmt::format("Writing \"{}\" was interrupted", name_));
  }
  struct stat moved{};
  struct stat before{};
  if (::fstatat(from, name.c_str(), &moved, AT_SYMLINK_NOFOLLOW) != 0) {
    fail(index, name, errno);
  }
  const bool exists = ::fstatat(to, name.c_str(), &before, AT_SYMLINK_NOFOLLOW) == 0;
  if (!exists && errno != ENOENT) {
    fail(index, name, errno);
  }
  const bool is_directory = S_ISDIR(moved.st_mode);
  if (exists && is_directory != S_ISDIR(before.st_mode)) {
    fail(index, name, is_directory ? ENOTDIR : EISDIR);
  }
  if (exists && is_directory) {
    if (::fchmodat(from, name.c_str(), S_IRWXU, 0) != 0) {
      fail(index, name, errno);
    }
    return enter(index, name,
                 {.from = open_child(from, name),
                  .to = open_child(to, name),
                  .replaced = make_private_directory(here_.replaced.get(), name),
                  .area = here_.area},
                 moved);
  }
  std::vector<Move>& moves = directories_[index].moves;
  moves.push_back({.name = name, .has_replaced = false, .is_done = false});  // before anything is changed, for `undo`
  int error = go_on(moves.back(), exists, moved.st_mode);
  // A bind mount where the kernel doesn't tell, a quota for a directory, and the like.
  if (error == EXDEV && moves.size() == 1 && !moves.back().has_replaced && directories_[index].crossing == nullptr) {
    cross();
    error = go_on(moves.back(), exists, moved.st_mode);
  }
  if (error != 0) {
    fail(index, name, error);
  }
}

int TreeMover::go_on(Move& move, bool replaces, mode_t mode) {
  if (replaces) {
    here_.area->hold();
    // A link leaves no moment without the entry. Some file systems have none, and the kernel may forbid it.
    if (::linkat(here_.to.get(), move.name.c_str(), here_.replaced.get(), move.name.c_str(), 0) != 0 &&
        ::renameat(here_.to.get(), move.name.c_str(), here_.replaced.get(), move.name.c_str()) != 0) {
      return errno;
    }
    move.has_replaced = true;
  }
  const int error = rename_entry(here_.from.get(), move.name, here_.to.get(), move.name, mode);
  move.is_done = error == 0;
  return error;
}

void TreeMover::cross() {
  const std::size_t index = levels_.back().directory;
  const std::string path = path_of(index);
  warn_of_leftovers(here_.to.get(), path);
  directories_[index].crossing =
      std::make_unique<Crossing>(copy_of(here_.to.get()), fmt::format("Unable to write to the directory \"{}\"", path));
  Crossing& crossing = *directories_[index].crossing;
  crossing.outer_from = std::move(here_.from);
  crossing.outer_replaced = std::move(here_.replaced);
  crossing.outer_area = std::exchange(here_.area, &crossing.area);
  here_.from = copy_of(crossing.area.fresh());
  here_.replaced = copy_of(crossing.area.replaced());
  vfs::HostFileSystem source(copy_of(crossing.outer_from.get()), path);
  std::ostringstream unused;  // every error is thrown
  Extractor(source, copy_of(crossing.area.fresh()), {.name = path}, cancel_, unused).run();
}

void TreeMover::finish() {
  for (std::size_t i = 0; i < directories_.size(); ++i) {
    Crossing* const crossing = directories_[i].crossing.get();
    if (crossing == nullptr) {
      continue;
    }
    crossing->area.remove();
    const int to = crossing->to.get();
    if ((i != 0 && ::fchmod(to, directories_[i].moved.st_mode & kPermissions) != 0) ||
        ::futimens(to, times_of(directories_[i].moved).data()) != 0) {
      log::warn("\"{}\" did not get its mode or time: {}", path_of(i), text_of(errno));
    }
  }
}

std::vector<std::string> TreeMover::undo() {
  std::vector<std::string> problems;
  std::size_t at = 0;
  const auto go_up = [&] {
    Place parent = at == 0 ? Place() : up(at);
    restore(at);
    here_ = std::move(parent);
    at = directories_[at].parent;
  };
  for (std::size_t i = 0; i < directories_.size(); ++i) {  // parents come first: a new mode may forbid the way
    while (i != 0 && at != directories_[i].parent) {
      go_up();
    }
    go_down(i);
    at = i;
    put_back(i, problems);
  }
  while (at != 0) {
    go_up();
  }
  if (!directories_.empty()) {
    restore(0);
  }
  if (!lost_.contains(&area_)) {
    area_.let_go();
  }
  return problems;
}

void TreeMover::go_down(std::size_t directory) {
  const Directory& below = directories_[directory];
  Place place;
  if (directory == 0) {
    place = {.from = {}, .to = copy_of(to_), .replaced = copy_of(area_.replaced()), .area = &area_};
  } else {
    place = {.from = {},
             .to = open_again(here_.to.get(), below.name, below.before.st_mode),
             .replaced = open_child(here_.replaced.get(), below.name),
             .area = here_.area};
  }
  if (below.crossing) {
    place.replaced = copy_of(below.crossing->area.replaced());
    place.area = &below.crossing->area;
  }
  here_ = std::move(place);
}

void TreeMover::put_back(std::size_t directory, std::vector<std::string>& problems) {
  const int to = here_.to.get();
  const mode_t mode = directories_[directory].before.st_mode & kPermissions;
  struct stat status{};
  if (::fstat(to, &status) == 0 && (status.st_mode & kPermissions) != mode && ::fchmod(to, mode) != 0) {
    problems.push_back(fmt::format("the mode of \"{}\" can't be put back: {}", path_of(directory), text_of(errno)));
  }
  for (const Move& move : directories_[directory].moves) {
    if (move.has_replaced) {
      if (::renameat(here_.replaced.get(), move.name.c_str(), to, move.name.c_str()) != 0) {
        problems.push_back(fmt::format("\"{}\" can't be put back ({}): it is in \"{}\"", path_of(directory, move.name),
                                       text_of(errno), replaced_path(directory, move.name)));
        lost_.insert(here_.area);
      }
    } else if (move.is_done) {
      if (::fstatat(to, move.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT) {
        continue;  // another process has taken it away
      }
      if (const int error =
              rename_entry(to, move.name, here_.area->undone(), std::to_string(undone_++), status.st_mode)) {
        problems.push_back(
            fmt::format("\"{}\" is new and can't be taken away: {}", path_of(directory, move.name), text_of(error)));
      }
    }
  }
}

void TreeMover::restore(std::size_t directory) {
  Crossing* const crossing = directories_[directory].crossing.get();
  if (crossing != nullptr && !lost_.contains(&crossing->area)) {
    crossing->area.remove();
  }
  ::futimens(here_.to.get(), times_of(directories_[directory].before).data());
}

std::string TreeMover::replaced_path(std::size_t directory, const std::string& name) const {
  std::size_t top = directory;
  while (top != 0 && directories_[top].crossing == nullptr) {
    top = directories_[top].parent;
  }
  const StagingArea& area = directories_[top].crossing ? directories_[top].crossing->area : area_;
  const std::string beginning = path_of(top);
  return fmt::format("{}/{}/{}{}", beginning, area.name(), StagingArea::kReplaced,
                     path_of(directory, name).substr(beginning.size()));
}

}  // namespace pkgfs
