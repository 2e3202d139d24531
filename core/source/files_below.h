// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace pkgfs {

/// The paths of the regular files below the directory `dir`, with `dir` in front, in byte order. A symbolic link that
/// leads nowhere counts as a file; other links are followed. Each directory is visited once, so that loops end. At most
/// `depth` levels are visited; with 1, only `dir` itself. Throws Error if `dir` can't be read. If a directory below it
/// can't be read, that is logged, and the directory is left out.
[[nodiscard]] std::vector<std::string> files_below(const std::string& dir, std::size_t depth);

}  // namespace pkgfs
