// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace pkgfs {

/// The paths of the regular files below the directory `dir`, with `dir` in front, in byte order. A symbolic link that
/// leads nowhere counts as a file; other links are followed. Each directory is visited once, so loops end. At most
/// `depth` levels are visited; 1 is `dir` itself. Throws Error if `dir` can't be read. A directory below it that can't
/// be read is logged and left out.
[[nodiscard]] std::vector<std::string> files_below(const std::string& dir, std::size_t depth);

}  // namespace pkgfs
