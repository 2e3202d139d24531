// SPDX-License-Identifier: MIT
#include "daemon/mount/remove_tree.h"

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "core/base/error.h"

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;

void make_removable(const std::string& path) {
  std::error_code failed;
  const auto is_directory = [](const stdfs::path& entry) {
    std::error_code gone;
    return stdfs::is_directory(stdfs::symlink_status(entry, gone));
  };
  std::vector<stdfs::path> left{path};
  while (!left.empty()) {
    const stdfs::path here = std::move(left.back());
    left.pop_back();
    if (!is_directory(here)) {
      continue;
    }
    stdfs::permissions(here, stdfs::perms::owner_all, failed);
    for (stdfs::directory_iterator entry(here, failed), end; !failed && entry != end; entry.increment(failed)) {
      if (is_directory(entry->path())) {
        left.push_back(entry->path());
      }
    }
    failed.clear();
  }
}

}  // namespace

void remove_tree(const std::string& path) {
  std::error_code failed;
  stdfs::remove_all(path, failed);
  if (failed == std::errc::permission_denied) {
    make_removable(path);
    stdfs::remove_all(path, failed);
  }
  if (failed) {
    throw system_error("Unable to remove \"" + path + "\"", failed.value());
  }
}

}  // namespace pkgfs
