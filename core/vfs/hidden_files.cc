// SPDX-License-Identifier: MIT
#include "core/vfs/hidden_files.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "core/vfs/path_text.h"

namespace pkgfs::vfs {
namespace {

/// The mounts in the order of their paths. Those at and below a path stand next to each other: a range of this order.
class HiddenFiles {
 public:
  HiddenFiles(const std::vector<Mount>& mounts, NameIndex& index) : mounts_(mounts), index_(index) {
    for (std::size_t i = 0; i < mounts.size(); ++i) {
      if (!mounts[i].fallback) {
        order_.push_back(i);
      }
    }
    std::ranges::stable_sort(order_, [&](std::size_t a, std::size_t b) { return path_before(path(a), path(b)); });
  }

  std::vector<HiddenFile> find() {
    visit({0, order_.size()}, 0, {});
    std::ranges::sort(found_, {}, [](const HiddenFile& file) { return std::tie(file.mount, file.length, file.other); });
    return std::move(found_);
  }

 private:
  struct Range {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  /// The directory that a mount has at a path.
  struct Part {
    std::size_t mount = 0;
    Inode inode = 0;
    bool counted = false;  // `inode` is a reference
  };
  /// The mounts at and below one entry of a path.
  struct Child {
    Range range;
    std::vector<Part> parts;  // those that have the entry as a directory
  };

  [[nodiscard]] std::string_view path(std::size_t mount) const { return mounts_[mount].mount_path; }

  /// `length`: of the path, which all mounts of `range` have in common; 0 for the root. `parts`: mounts from above.
  void visit(Range range, std::size_t length, std::vector<Part> parts) {
    std::size_t below = range.begin;
    while (below < range.end && (path(order_[below]).size() == length || path(order_[below]) == "/")) {
      ++below;
    }
    for (std::size_t i = range.begin; i < below; ++i) {
      if (mounts_[order_[i]].source->attributes.type == FileType::kDirectory) {
        parts.push_back({order_[i], mounts_[order_[i]].source->inode, false});
      } else {
        add({below, range.end}, length, order_[i]);
      }
    }
    std::vector<std::string_view> names;
    std::vector<Child> children;
    for (std::size_t i = below; i < range.end; ++i) {
      const std::string_view rest = path(order_[i]).substr(length + 1);
      const std::string_view name = rest.substr(0, rest.find('/'));
      if (names.empty() || names.back() != name) {
        names.push_back(name);
        children.push_back({{i, i}, {}});
      }
      children.back().range.end = i + 1;
    }
    for (const Part& part : parts) {
      look(part, length, names, children);
    }
    for (std::size_t i = 0; i < children.size(); ++i) {
      Child& child = children[i];
      if (!child.parts.empty() || child.range.end - child.range.begin > 1) {
        visit(child.range, length + 1 + names[i].size(), child.parts);
      }
      release(child.parts);
    }
  }

  /// Adds the directories that `part` has to the children, and notes files. Damage hides nothing.
  void look(const Part& part, std::size_t length, const std::vector<std::string_view>& names,
            std::vector<Child>& children) {
    const Mount& mount = mounts_[part.mount];
    const auto found = [&](std::size_t i, const Result<Entry>& entry) {
      if (entry && entry->attributes.type == FileType::kDirectory) {
        children[i].parts.push_back({part.mount, entry->inode, mount.live});
      } else if (entry) {
        add(children[i].range, length + 1 + names[i].size(), part.mount);
        release(mount, entry->inode, mount.live);
      }
    };
    static_cast<void>(index_.intersect(*mount.fs, mount.live, part.inode, names, found));
  }

  void add(Range range, std::size_t length, std::size_t other) {
    if (range.begin != range.end) {
      const auto first = order_.begin() + static_cast<std::ptrdiff_t>(range.begin);
      found_.push_back(
          {*std::min_element(first, order_.begin() + static_cast<std::ptrdiff_t>(range.end)), length, other});
    }
  }

  void release(const std::vector<Part>& parts) const {
    for (const Part& part : parts) {
      release(mounts_[part.mount], part.inode, part.counted);
    }
  }
  static void release(const Mount& mount, Inode inode, bool counted) {
    if (counted) {
      mount.fs->forget(inode, 1);
    }
  }

  const std::vector<Mount>& mounts_;
  NameIndex& index_;
  std::vector<std::size_t> order_;
  std::vector<HiddenFile> found_;
};

}  // namespace

std::vector<HiddenFile> find_hidden_files(const std::vector<Mount>& mounts, NameIndex& index) {
  return HiddenFiles(mounts, index).find();
}

}  // namespace pkgfs::vfs
