// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>

#include "core/source/source.h"

namespace pkgfs {

/// What `--registry DIR` means: the packages of the registry layout below `dir` (LocalRegistrySource), merged with the
/// containers that lie in `dir` itself under any file name (by their manifests; damaged ones are logged and left out).
/// Throws Error `package directory does not exist: "{dir}"`.
[[nodiscard]] std::unique_ptr<Source> open_registry(const std::string& dir);

}  // namespace pkgfs
