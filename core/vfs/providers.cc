// SPDX-License-Identifier: MIT
#include "core/vfs/providers.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "core/vfs/name_index.h"
#include "core/vfs/path_text.h"

namespace pkgfs::vfs {
namespace {

class Providers {
 public:
  Providers(std::size_t mounts, const std::vector<std::string_view>& names)
      : none_(mounts), names_(names), first_(names.size(), mounts), missing_(names.size()) {}

  /// What `mount`, which is the next one, has of the names in `directory`.
  void add(const Mount& mount, std::size_t number, std::string_view directory, NameIndex& index) {
    if (mount.mount_path != directory && path_covers(directory, mount.mount_path)) {
      const std::string_view rest = path_below(directory, mount.mount_path).substr(1);
      const auto name = std::ranges::lower_bound(names_, rest.substr(0, rest.find('/')));
      if (name != names_.end() && *name == rest.substr(0, rest.find('/'))) {
        take(static_cast<std::size_t>(name - names_.begin()), number);  // a mount point, or a directory above it
      }
      return;
    }
    if (!path_covers(mount.mount_path, directory)) {
      return;
    }
    const std::string inside =
        (mount.source_path == "/" ? "" : mount.source_path) + std::string(path_below(mount.mount_path, directory));
    const Result<Entry> found = index.find(*mount.fs, mount.live, inside);
    if (!found || found->attributes.type != FileType::kDirectory) {
      if (found || found.error() == ENOTDIR) {
        for (std::size_t i = 0; i < names_.size(); ++i) {
          take(i, number);
        }
      }
    } else {
      static_cast<void>(
          index.intersect(*mount.fs, mount.live, found->inode, names_, [&](std::size_t i, const Result<Entry>& entry) {
            if (entry) {
              take(i, number);
              release(mount, entry->inode);
            }
          }));
    }
    if (found) {
      release(mount, found->inode);
    }
  }

  [[nodiscard]] bool done() const { return missing_ == 0; }
  std::vector<std::size_t> result() { return std::move(first_); }

 private:
  void take(std::size_t name, std::size_t mount) {
    if (first_[name] == none_) {
      first_[name] = mount;
      --missing_;
    }
  }
  static void release(const Mount& mount, Inode inode) {
    if (mount.live && inode != mount.fs->root()) {
      mount.fs->forget(inode, 1);
    }
  }

  const std::size_t none_;
  const std::vector<std::string_view>& names_;
  std::vector<std::size_t> first_;
  std::size_t missing_;  // names without a mount
};

}  // namespace

std::vector<std::size_t> find_providers(const std::vector<Mount>& mounts, std::string_view directory,
                                        const std::vector<std::string_view>& names) {
  NameIndex index;
  Providers providers(mounts.size(), names);
  for (std::size_t i = 0; i < mounts.size() && !providers.done(); ++i) {
    providers.add(mounts[i], i, directory, index);
  }
  return providers.result();
}

}  // namespace pkgfs::vfs
