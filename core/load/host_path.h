// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"

namespace pkgfs {

inline constexpr int kLinksFollowed = 40;  // on the way of one path, as Linux does

/// A path in a `wasmer.toml`, parsed as text: the levels that it climbs first, and the components that follow.
struct HostPath {
  bool absolute = false;
  std::size_t climbs = 0;               // leading `..`, after `a/..` has been removed
  std::vector<std::string> components;  // none is empty, `.` or `..`

  /// Throws Error for a NUL.
  [[nodiscard]] static HostPath parse(std::string_view text);
  /// Whether the text leads out of the directory to which the path is relative.
  [[nodiscard]] bool leaves() const { return absolute || climbs > 0; }
  /// The components with "/" between.
  [[nodiscard]] std::string joined() const;
};

/// Opens `path` relative to the directory `base`. Links on the way are followed as long as they stay below the
/// directory that the path's own text leads to (`base`, some parent of it, or `/`): a link in a package can't
/// open other files of the disk. Returns -1 with `errno`: EXDEV when a link leads out, else as openat(2).
[[nodiscard]] UniqueFd open_host_path(int base, const HostPath& path, int flags);

/// The same without openat2(2), which old kernels and some seccomp filters lack: opens one component after the other
/// and reads links itself. `open_host_path` calls it where openat2 is missing.
[[nodiscard]] UniqueFd walk_host_path(int base, const HostPath& path, int flags);

}  // namespace pkgfs
