// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "core/tree/file_system.h"

namespace pkgfs {

/// Builds the tree of View::kPackage (docs/rules/loading.md, 5.6). It shows the root package's parts as they are
/// stored. Below `/packages` it shows those of every other package of `packages`. `directory_time` is the time of
/// directories that are in no package, such as `/packages`.
[[nodiscard]] LoadedFileSystem build_package_view(const Resolution& resolution, const LoadedPackages& packages,
                                                  const TreeOptions& options, std::int64_t directory_time);

/// Turns the name of an atom, a volume or a package into one file name. "%" and two hex digits replace each "/", "%"
/// and control character, and each "." of the names "." and "..". A file name that would be too long is cut and ends
/// with "%~" and a hash. Different names stay different.
[[nodiscard]] std::string to_file_name(std::string_view name);

}  // namespace pkgfs
