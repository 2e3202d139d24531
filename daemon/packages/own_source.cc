// SPDX-License-Identifier: MIT
#include "daemon/packages/own_source.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>

#include "core/base/unique_fd.h"
#include "core/load/directory_package.h"

namespace pkgfs {
namespace {

/// Whether `directory` is `ancestor` or lies below it.
bool is_below(int directory, int ancestor) {
  struct stat wanted{};
  struct stat here{};
  if (::fstat(ancestor, &wanted) != 0 || ::fstat(directory, &here) != 0) {
    return false;
  }
  UniqueFd current(::openat(directory, ".", O_PATH | O_CLOEXEC));
  while (current) {
    if (here.st_dev == wanted.st_dev && here.st_ino == wanted.st_ino) {
      return true;
    }
    UniqueFd parent(::openat(current.get(), "..", O_PATH | O_CLOEXEC));
    struct stat above{};
    if (!parent || ::fstat(parent.get(), &above) != 0 || (above.st_dev == here.st_dev && above.st_ino == here.st_ino)) {
      return false;  // the root
    }
    here = above;
    current = std::move(parent);
  }
  return false;
}

/// The absolute path of an open directory, or `written` if the kernel doesn't tell it.
std::string path_of(int fd, const std::string& written) {
  std::error_code failed;
  const auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), failed);
  return failed ? written : path.string();
}

/// `path` as a directory, or the one that it would be in. Invalid if neither can be opened.
UniqueFd open_place(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path + "/").parent_path().parent_path();
  UniqueFd place(::open((path + "/.").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!place) {
    place.reset(::open((parent / ".").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  return place;
}

}  // namespace

void refuse_own_source(const PackageTree& tree, const std::string& path) {
  if (const UniqueFd place = open_place(path)) {
    refuse_own_source(tree, place.get(), "\"" + path + "\"");
  }
}

void refuse_own_source(const Package& package, const std::string& path) {
  if (const UniqueFd place = open_place(path)) {
    refuse_own_source(package, place.get(), "\"" + path + "\"");
  }
}

void refuse_own_source(const PackageTree& tree, int directory, const std::string& what) {
  for (const auto& [id, package] : tree.packages) {
    refuse_own_source(*package, directory, what);
  }
}

void refuse_own_source(const Package& package, int directory, const std::string& what) {
  const auto* live = dynamic_cast<const DirectoryPackage*>(&package);
  if (live == nullptr) {
    return;
  }
  for (const auto& volume : live->host_volumes()) {
    if (!volume.is_file && is_below(directory, volume.fd.get())) {
      throw Error(ErrorCode::kUsage, what + " lies in \"" + path_of(volume.fd.get(), volume.host) +
                                         "\", which is part of the package \"" + live->name() + "\"");
    }
  }
}

}  // namespace pkgfs
