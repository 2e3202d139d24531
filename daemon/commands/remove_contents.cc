// SPDX-License-Identifier: MIT
#include "daemon/commands/remove_contents.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/unique_fd.h"

namespace pkgfs {
namespace {

constexpr int kContentsFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

/// Removes everything but directories, and returns their names.
std::vector<std::string> remove_files(int directory) {
  UniqueFd copy(::openat(directory, ".", kContentsFlags));
  const std::unique_ptr<DIR, CloseDir> dir(copy ? ::fdopendir(copy.get()) : nullptr);
  std::vector<std::string> directories;
  if (dir == nullptr) {
    return directories;
  }
  (void)copy.release();
  while (const dirent* entry = ::readdir(dir.get())) {  // NOLINT(concurrency-mt-unsafe): our own stream
    std::string name = static_cast<const char*>(entry->d_name);
    if (name != "." && name != ".." && ::unlinkat(directory, name.c_str(), 0) != 0) {
      directories.push_back(std::move(name));
    }
  }
  return directories;
}

}  // namespace

void remove_contents(int directory) {
  struct Level {
    struct stat status;
    std::vector<std::string> left;  // directories; the last one is being emptied
  };
  UniqueFd here(::openat(directory, ".", kContentsFlags));
  std::vector<Level> way(1);
  if (!here || ::fstat(here.get(), &way.back().status) != 0) {
    return;
  }
  way.back().left = remove_files(here.get());
  while (true) {
    Level& level = way.back();
    if (!level.left.empty()) {
      UniqueFd child(::openat(here.get(), level.left.back().c_str(), kContentsFlags));
      Level below{};
      if (child && ::fstat(child.get(), &below.status) == 0) {
        here = std::move(child);
        ::fchmod(here.get(), 0700);  // the package's mode may forbid to remove its entries
        below.left = remove_files(here.get());
        way.push_back(std::move(below));
      } else {
        level.left.pop_back();
      }
      continue;
    }
    way.pop_back();
    if (way.empty()) {
      return;
    }
    // If another process moved the directory, this is a different parent: leave it alone.
    UniqueFd parent(::openat(here.get(), "..", kContentsFlags));
    struct stat status{};
    if (!parent || ::fstat(parent.get(), &status) != 0 || status.st_dev != way.back().status.st_dev ||
        status.st_ino != way.back().status.st_ino) {
      return;
    }
    here = std::move(parent);
    ::unlinkat(here.get(), way.back().left.back().c_str(), AT_REMOVEDIR);
    way.back().left.pop_back();
  }
}

}  // namespace pkgfs
