// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "core/tree/file_system.h"

namespace pkgfs {

/// Builds the tree of View::kPackage: the root package's parts as they are stored, and below `/packages` those of every
/// other package of `packages` (docs/rules/loading.md, 5.6). `directory_time` is the time of directories that no
/// package has.
[[nodiscard]] LoadedFileSystem build_package_view(const Resolution& resolution, const LoadedPackages& packages,
                                                  const TreeOptions& options, std::int64_t directory_time);

/// A name of a package's part as one file name: "%" and two hex digits replace each "/", "%" and control character, and
/// each "." of the names "." and "..". A name that is too long ends with "%~" and a hash. Different names stay
/// different.
[[nodiscard]] std::string to_file_name(std::string_view name);

}  // namespace pkgfs
