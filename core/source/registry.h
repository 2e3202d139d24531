// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>

#include "core/source/source.h"

namespace pkgfs {

/// The source for `--registry DIR`. It has the packages in the registry layout below `dir` (LocalRegistrySource). It
/// also has the containers directly in `dir` (DirectorySource), which may have any file name. Their manifests give
/// their ids, and a damaged one is logged and left out. Throws Error `package directory does not exist: "{dir}"`.
[[nodiscard]] std::unique_ptr<Source> open_registry(const std::string& dir);

}  // namespace pkgfs
