// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"

namespace pkgfs {

/// A path as a `wasmer.toml` writes it, taken apart by its text alone: how many levels it climbs first, and what
/// follows.
struct HostPath {
  bool absolute = false;
  std::size_t climbs = 0;               // leading `..`, after those inside have been taken back
  std::vector<std::string> components;  // none is empty, `.` or `..`

  /// Throws Error for a NUL.
  [[nodiscard]] static HostPath parse(std::string_view text);
  /// Leaves the directory it is relative to, by its text.
  [[nodiscard]] bool leaves() const { return absolute || climbs > 0; }
  /// The components with "/" between.
  [[nodiscard]] std::string joined() const;
};

/// Opens `path` relative to the directory `base`. Links on the way are followed as long as they stay below the
/// directory that the path's own text leads to (`base`, some parent of it, or `/`): what a link in a package says can't
/// open the rest of the disk. Returns -1 with `errno`: EXDEV when a link leads out, else as openat(2).
[[nodiscard]] UniqueFd open_host_path(int base, const HostPath& path, int flags);

}  // namespace pkgfs
