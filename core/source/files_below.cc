// SPDX-License-Identifier: MIT
#include "core/source/files_below.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <iterator>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"

namespace pkgfs {
namespace {

struct Directory {
  std::string path;
  std::size_t level;
};

class Walk {
 public:
  explicit Walk(std::size_t depth) : depth_(depth) {}

  /// Collects the files of `dir` and returns its subdirectories.
  std::vector<Directory> visit(const Directory& dir) {
    std::vector<Directory> below;
    struct stat st{};
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(dir.path.c_str()), ::closedir);
    const int fd = stream == nullptr ? -1 : ::dirfd(stream.get());
    if (fd < 0 || ::fstat(fd, &st) != 0) {
      const Error error = system_error("Unable to read the directory \"" + dir.path + "\"", errno);
      if (dir.level == 1) {
        throw Error(error);
      }
      log::warn("{}", error);
      return below;
    }
    if (!visited_.emplace(st.st_dev, st.st_ino).second) {
      return below;
    }
    while (const dirent* entry = ::readdir(stream.get())) {  // NOLINT(concurrency-mt-unsafe): the stream is ours
      const std::string_view name = static_cast<const char*>(entry->d_name);
      if (name == "." || name == "..") {
        continue;
      }
      std::string path = dir.path + "/" + std::string(name);
      if (::stat(path.c_str(), &st) != 0 || S_ISREG(st.st_mode)) {
        files_.push_back(std::move(path));
      } else if (S_ISDIR(st.st_mode) && dir.level < depth_) {
        below.push_back({std::move(path), dir.level + 1});
      }
    }
    return below;
  }

  /// Everything that was collected, in byte order. The walk is used up.
  std::vector<std::string> finish() {
    std::ranges::sort(files_);
    return std::move(files_);
  }

 private:
  std::size_t depth_;
  std::set<std::pair<dev_t, ino_t>> visited_;
  std::vector<std::string> files_;
};

}  // namespace

std::vector<std::string> files_below(const std::string& dir, std::size_t depth) {
  Walk walk(depth);
  std::vector<Directory> pending = {{dir, 1}};
  while (!pending.empty()) {
    const Directory next = std::move(pending.back());
    pending.pop_back();
    auto below = walk.visit(next);
    // Two paths may lead to one directory: its files are found under the path that sorts first.
    std::ranges::sort(below, std::greater<>(), &Directory::path);
    std::ranges::move(below, std::back_inserter(pending));
  }
  return walk.finish();
}

}  // namespace pkgfs
