// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"

namespace pkgfs {

inline constexpr int kLinksFollowed = 40;  // in one look-up of a path, as in Linux

/// A path in a `wasmer.toml`, parsed as text: the number of levels that it climbs first, and the components that
/// follow.
struct HostPath {
  bool absolute = false;
  std::size_t climbs = 0;               // leading `..`, after `a/..` has been removed
  std::vector<std::string> components;  // none is empty, `.` or `..`

  /// Throws Error(kCorrupt) for a text with a NUL.
  [[nodiscard]] static HostPath parse(std::string_view text);
  /// Whether the text leads out of the directory to which the path is relative.
  [[nodiscard]] bool leaves() const { return absolute || climbs > 0; }
  /// The components, with "/" between them.
  [[nodiscard]] std::string joined() const;
};

/// Opens `path` relative to the directory `base`. Links are followed as long as they stay below the directory where the
/// path starts. That is `base`, the directory to which the leading `..` climb, or `/` for an absolute path. So a link
/// in a package can't open other files of the host. On failure, returns an empty UniqueFd and sets `errno`: EXDEV if a
/// link leads out, else as openat(2).
[[nodiscard]] UniqueFd open_host_path(int base, const HostPath& path, int flags);

/// The same for a `path` that doesn't leave `base`, and that a mount shows already. Enters no mount point on the way,
/// because it may be that very mount (RESOLVE_NO_XDEV). Fails with EXDEV at a mount point, too.
[[nodiscard]] UniqueFd reopen_host_path(int base, const HostPath& path, int flags);

/// As `open_host_path`, without openat2(2), which old kernels lack and some seccomp filters refuse. Opens one component
/// after the other, and reads links itself. `open_host_path` calls it where openat2(2) can't be used.
[[nodiscard]] UniqueFd walk_host_path(int base, const HostPath& path, int flags);

}  // namespace pkgfs
