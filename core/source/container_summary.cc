// SPDX-License-Identifier: MIT
#include "core/source/container_summary.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "core/base/byte_source.h"
#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/unique_fd.h"
#include "core/webc/container.h"

namespace pkgfs {
namespace {

using FileKey = std::tuple<dev_t, ino_t, off_t, time_t, long, time_t, long>;

FileKey key_of(const struct stat& st) {
  return {st.st_dev,          st.st_ino,         st.st_size,        st.st_mtim.tv_sec,
          st.st_mtim.tv_nsec, st.st_ctim.tv_sec, st.st_ctim.tv_nsec};
}

// O_NONBLOCK: opening a FIFO must not wait for a writer.
UniqueFd open_regular(const std::string& path, struct stat& st) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd || ::fstat(fd.get(), &st) != 0) {
    throw system_error("Unable to open \"" + path + "\"", errno);
  }
  if (!S_ISREG(st.st_mode)) {
    throw Error(ErrorCode::kIo, "Unable to open \"" + path + "\": not a regular file");
  }
  return fd;
}

std::size_t read_some(int fd, std::span<std::byte> out, const std::string& path) {
  while (true) {
    const ssize_t n = ::read(fd, out.data(), out.size());
    if (n >= 0) {
      return static_cast<std::size_t>(n);
    }
    if (errno != EINTR) {
      throw system_error("Unable to read \"" + path + "\"", errno);
    }
  }
}

std::shared_ptr<const webc::Container> open_container(const std::string& path) {
  return webc::Container::open(MappedFile::open(path));
}

PackageSummary summarize(const std::string& path, PackageId id, const webc::Container& container) {
  return {info_from_manifest(std::move(id), container.manifest(), static_cast<int>(container.version())),
          local_distribution(path)};
}

struct Walk {
  std::size_t depth;
  std::set<std::pair<dev_t, ino_t>> visited;
  std::vector<std::string> files;

  struct Directory {
    std::string path;
    std::size_t level;
  };

  // Appends the files of `dir` and returns its subdirectories.
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
      log::warn("{}", error.what());
      return below;
    }
    if (!visited.emplace(st.st_dev, st.st_ino).second) {
      return below;
    }
    while (const dirent* entry = ::readdir(stream.get())) {  // NOLINT(concurrency-mt-unsafe): the stream is ours
      const std::string_view name = entry->d_name;           // NOLINT
      if (name == "." || name == "..") {
        continue;
      }
      std::string path = dir.path + "/" + std::string(name);
      if (::stat(path.c_str(), &st) != 0 || S_ISREG(st.st_mode)) {
        files.push_back(std::move(path));
      } else if (S_ISDIR(st.st_mode) && dir.level < depth) {
        below.push_back({std::move(path), dir.level + 1});
      }
    }
    return below;
  }
};

}  // namespace

Sha256 hash_file(const std::string& path) {
  struct stat st{};
  const UniqueFd fd = open_regular(path, st);
  Sha256Hasher hasher;
  std::vector<std::byte> buffer(std::size_t{1} << 20U);
  while (const std::size_t n = read_some(fd.get(), buffer, path)) {
    hasher.update(std::span(buffer).first(n));
  }
  return hasher.finish();
}

struct FileHashes::State {
  std::map<std::string, std::pair<FileKey, Sha256>> known;
};

FileHashes::FileHashes() : state_(std::make_unique<State>()) {}
FileHashes::~FileHashes() = default;

const Sha256& FileHashes::of(const std::string& path) {
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) {
    throw system_error("Unable to open \"" + path + "\"", errno);
  }
  const FileKey key = key_of(st);
  auto at = state_->known.find(path);
  if (at == state_->known.end() || at->second.first != key) {
    at = state_->known.insert_or_assign(path, std::pair(key, hash_file(path))).first;
  }
  return at->second.second;
}

bool has_container_magic(const std::string& path) {
  static constexpr std::string_view kMagic{"\0webc", 5};
  try {
    struct stat st{};
    const UniqueFd fd = open_regular(path, st);
    std::array<std::byte, kMagic.size()> start{};
    const std::size_t n = read_some(fd.get(), start, path);
    return n == kMagic.size() && std::equal(start.begin(), start.end(), kMagic.begin(),
                                            [](std::byte a, char b) { return a == static_cast<std::byte>(b); });
  } catch (const Error&) {
    return false;
  }
}

DistributionInfo local_distribution(const std::string& path) {
  std::error_code failed;
  std::string absolute = std::filesystem::absolute(path, failed).string();
  if (failed) {
    absolute = path;
  }
  return {"file://" + absolute, absolute, std::nullopt};
}

PackageSummary container_summary(const std::string& path) {
  const auto container = open_container(path);
  // Not the mapping: an open file for each known package would be too many.
  PackageHash hash([path] { return hash_file(path); });
  return summarize(path, id_from_manifest(container->manifest(), hash), *container);
}

PackageSummary container_summary(const std::string& path, PackageId id) {
  return summarize(path, std::move(id), *open_container(path));
}

std::vector<std::string> files_below(const std::string& dir, std::size_t depth) {
  Walk walk{depth, {}, {}};
  std::vector<Walk::Directory> pending = {{dir, 1}};
  while (!pending.empty()) {
    const Walk::Directory next = std::move(pending.back());
    pending.pop_back();
    auto below = walk.visit(next);
    // A directory that two paths lead to is found under the path that comes first.
    std::sort(below.begin(), below.end(), [](const auto& a, const auto& b) { return a.path > b.path; });
    std::move(below.begin(), below.end(), std::back_inserter(pending));
  }
  std::sort(walk.files.begin(), walk.files.end());
  return std::move(walk.files);
}

}  // namespace pkgfs
