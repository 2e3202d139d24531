// SPDX-License-Identifier: MIT
#include "daemon/commands/staging_area.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <random>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/utf8.h"
#include "daemon/commands/remove_contents.h"

namespace pkgfs {

namespace {

constexpr std::string_view kMark = ".pkgfs-";
constexpr int kAreaFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

/// `.PREFIX`, cut between two characters.
std::string hidden_prefix(std::string_view prefix) {
  constexpr std::size_t kMost = 200;  // bytes; a name may have 255
  std::size_t end = std::min(prefix.size(), kMost);
  while (end > 0 && end < prefix.size() && continues_character(prefix[end])) {
    --end;
  }
  return prefix.empty() ? std::string() : fmt::format(".{}", prefix.substr(0, end));
}

bool has_files(const std::filesystem::path& directory) {
  std::error_code failed;
  for (std::filesystem::recursive_directory_iterator entry(directory, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    if (entry->symlink_status(failed).type() != std::filesystem::file_type::directory) {
      return true;
    }
  }
  return static_cast<bool>(failed) && failed != std::errc::no_such_file_or_directory;
}

/// The areas in `place` whose names begin like that, and in which no process works.
std::vector<std::string> left_areas(int place, std::string_view beginning) {
  int failed = 0;
  std::vector<std::string> names = entry_names(place, failed);
  std::erase_if(names, [&](const std::string& name) {
    if (!name.starts_with(beginning)) {
      return true;
    }
    const UniqueFd left(::openat(place, name.c_str(), kAreaFlags));
    return !left || ::flock(left.get(), LOCK_SH | LOCK_NB) != 0;  // another process is writing to the directory
  });
  return names;
}

}  // namespace

UniqueFd make_private_directory(int place, const std::string& name) {
  UniqueFd made;
  if (::mkdirat(place, name.c_str(), S_IRWXU) == 0) {
    made.reset(::openat(place, name.c_str(), kAreaFlags));
    if (const int error = errno; !made) {
      ::unlinkat(place, name.c_str(), AT_REMOVEDIR);
      errno = error;
    }
  }
  return made;
}

std::vector<std::string> entry_names(int directory, int& failed) {
  UniqueFd copy(::openat(directory, ".", kAreaFlags));
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(copy ? ::fdopendir(copy.get()) : nullptr, ::closedir);
  std::vector<std::string> names;
  failed = dir == nullptr ? errno : 0;
  if (dir == nullptr) {
    return names;
  }
  (void)copy.release();
  errno = 0;
  while (const dirent* entry = ::readdir(dir.get())) {  // NOLINT(concurrency-mt-unsafe): our own stream
    std::string name = static_cast<const char*>(entry->d_name);
    if (name != "." && name != "..") {
      names.push_back(std::move(name));
    }
  }
  failed = errno;
  return names;
}

StagingArea::StagingArea(int place, std::string_view prefix, const std::string& what) : place_(place) {
  constexpr int kAttempts = 100;
  const std::string beginning = hidden_prefix(prefix);
  std::random_device random;
  for (UniqueFd& each : reserve_) {
    each.reset(::fcntl(place, F_DUPFD_CLOEXEC, 0));
    if (!each) {
      throw system_error(what, errno);
    }
  }
  for (int i = 0; i < kAttempts && !fd_; ++i) {
    std::string name = fmt::format("{}{}{:08x}{:08x}", beginning, kMark, random(), random());
    fd_ = make_private_directory(place, name);
    if (fd_) {
      name_ = std::move(name);
    } else if (errno != EEXIST) {
      break;
    }
  }
  if (!fd_) {
    throw system_error(what, errno);
  }
  ::flock(fd_.get(), LOCK_EX | LOCK_NB);  // some file systems have no locks: then others warn of it needlessly
}

StagingArea::~StagingArea() {
  if (!is_held_) {
    remove();
  }
}

void StagingArea::prepare(const std::string& what) {
  const auto make = [&](const char* name) {
    UniqueFd made = make_private_directory(fd_.get(), name);
    if (!made) {
      throw system_error(what, errno);
    }
    return made;
  };
  fresh_ = make(kNew);
  replaced_ = make(kReplaced);
  undone_ = make(kUndone);
}

void StagingArea::use_reserve() {
  for (UniqueFd& each : reserve_) {
    each.reset();
  }
}

void StagingArea::remove() {
  if (name_.empty()) {
    return;
  }
  if (replaced_) {  // if this process is killed now, the rest of these files needs no warning
    ::renameat(fd_.get(), kReplaced, fd_.get(), "removed");
  }
  for (UniqueFd* each : {&fresh_, &replaced_, &undone_}) {
    each->reset();
  }
  use_reserve();
  ::fchmod(fd_.get(), S_IRWXU);  // a package's mode may forbid it
  remove_contents(fd_.get());
  ::unlinkat(place_, name_.c_str(), AT_REMOVEDIR);
  name_.clear();
}

void warn_of_leftovers(int place, const std::string& path) {
  for (const std::string& name : left_areas(place, kMark)) {
    if (has_files(std::filesystem::path(path) / name / StagingArea::kReplaced)) {
      log::warn(
          "a \"pkgfs extract\" to \"{}\" was killed. The files that it had replaced are in \"{}/{}/{}\", under their "
          "own paths: move back those that you need, then remove \"{}/{}\"",
          path, path, name, StagingArea::kReplaced, path, name);
    } else {
      log::warn("a \"pkgfs extract\" to \"{}\" was killed and left \"{}/{}\": remove it", path, path, name);
    }
  }
}

void warn_of_leftovers_beside(int place, std::string_view prefix, const std::string& path) {
  for (const std::string& name : left_areas(place, hidden_prefix(prefix) + std::string(kMark))) {
    log::warn("a \"pkgfs extract\" to \"{}\" was killed and left \"{}\" in the same directory: remove it", path, name);
  }
}

}  // namespace pkgfs
