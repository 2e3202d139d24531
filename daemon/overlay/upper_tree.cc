// SPDX-License-Identifier: MIT
#include "daemon/overlay/upper_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <memory>
#include <set>

#include "core/base/error.h"
#include "core/load/host_path.h"

namespace pkgfs {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

/// Marks of fuse-overlayfs as files, where it may not make devices.
constexpr std::string_view kRemovedPrefix = ".wh.";
constexpr std::array<std::string_view, 2> kOpaqueNames{".wh..wh..opq", ".wh..opq"};

/// The names under which a mark may be stored, before ".opaque" and so on. Marks of another engine are none: any user
/// can set an attribute whose name begins with "user.".
std::vector<std::string> prefixes(OverlayEngine engine) {
  switch (engine) {
    case OverlayEngine::kKernel:
      return {"trusted.overlay."};
    case OverlayEngine::kKernelForUser:
      return {"user.overlay."};
    case OverlayEngine::kFuse:
      return {"user.fuseoverlayfs.", "user.overlay.", "trusted.overlay."};
  }
  return {};
}

std::string joined(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

}  // namespace

UpperTree::UpperTree(const std::string& path, OverlayEngine engine)
    : name_(path), root_(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)), engine_(engine) {
  if (!root_) {
    throw system_error("Unable to open the changes in \"" + path + "\"", errno);
  }
}

UniqueFd UpperTree::open(const std::string& path, int flags) const {
  return open_host_path(root_.get(), HostPath::parse(path), flags | O_NOFOLLOW | O_CLOEXEC);
}

std::string UpperTree::attribute(const std::string& path, std::string_view name) const {
  const UniqueFd entry = open(path, O_PATH);
  const std::string place = "/proc/self/fd/" + std::to_string(entry.get());
  std::array<char, PATH_MAX> value{};
  for (const std::string& prefix : prefixes(engine_)) {
    const ssize_t length =
        entry ? ::getxattr(place.c_str(), (prefix + std::string(name)).c_str(), value.data(), value.size()) : -1;
    if (length > 0) {
      return {value.data(), static_cast<std::size_t>(length)};
    }
  }
  return {};
}

bool UpperTree::is_opaque(const std::string& directory) const {
  if (attribute(directory, "opaque") == "y") {  // "x" only says that marks as attributes may be in the directory
    return true;
  }
  return engine_ == OverlayEngine::kFuse && std::ranges::any_of(kOpaqueNames, [&](std::string_view name) {
           return static_cast<bool>(open(joined(directory, std::string(name)), O_PATH));
         });
}

void UpperTree::read_marks(const std::string& path, UpperEntry& entry) const {
  if (S_ISCHR(entry.status.st_mode) && entry.status.st_rdev == ::makedev(0, 0)) {
    entry.is_removed = true;
  } else if (S_ISREG(entry.status.st_mode) && entry.status.st_size == 0) {
    const UniqueFd file = open(path, O_PATH);
    const std::string place = "/proc/self/fd/" + std::to_string(file.get());
    for (const std::string& prefix : prefixes(engine_)) {
      entry.is_removed = entry.is_removed || ::getxattr(place.c_str(), (prefix + "whiteout").c_str(), nullptr, 0) >= 0;
    }
  } else if (S_ISDIR(entry.status.st_mode)) {
    entry.is_opaque = is_opaque(path);
    if (std::string place = attribute(path, "redirect"); !place.empty()) {
      entry.redirect = std::move(place);
    }
  }
}

std::vector<UpperEntry> UpperTree::entries(const std::string& directory) const {
  const std::string shown = "\"" + joined(name_, directory) + "\"";
  UniqueFd fd = open(directory, O_RDONLY | O_DIRECTORY);
  const std::unique_ptr<DIR, CloseDirectory> stream(fd ? ::fdopendir(fd.get()) : nullptr);
  if (stream == nullptr && errno == ENOENT && !directory.empty()) {
    return {};  // the mount is in use: the directory has just gone
  }
  if (stream == nullptr) {
    throw system_error(shown, errno);
  }
  const int here = fd.release();
  std::vector<UpperEntry> entries;
  std::set<std::string> removed;                                               // by marks that are files
  for (errno = 0; const dirent* found = ::readdir(stream.get()); errno = 0) {  // NOLINT(concurrency-mt-unsafe)
    UpperEntry entry{.name = static_cast<const char*>(found->d_name)};
    if (entry.name == "." || entry.name == "..") {
      continue;
    }
    if (engine_ == OverlayEngine::kFuse && entry.name.starts_with(kRemovedPrefix)) {
      if (std::ranges::find(kOpaqueNames, entry.name) == kOpaqueNames.end()) {
        removed.insert(entry.name.substr(kRemovedPrefix.size()));
      }
      continue;
    }
    if (::fstatat(here, entry.name.c_str(), &entry.status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) {
        continue;  // a program has just removed it
      }
      throw system_error(shown, errno);
    }
    if (S_ISLNK(entry.status.st_mode)) {
      std::array<char, PATH_MAX> target{};
      const ssize_t length = ::readlinkat(here, entry.name.c_str(), target.data(), target.size());
      entry.target.assign(target.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
    }
    read_marks(joined(directory, entry.name), entry);
    entries.push_back(std::move(entry));
  }
  if (errno != 0) {
    throw system_error(shown, errno);
  }
  std::erase_if(entries, [&](const UpperEntry& entry) { return removed.erase(entry.name) > 0 && entry.is_removed; });
  for (const std::string& name : removed) {
    entries.push_back({.name = name, .is_removed = true});
  }
  std::ranges::sort(entries, {}, &UpperEntry::name);
  return entries;
}

}  // namespace pkgfs
