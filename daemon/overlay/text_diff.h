// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/base/unique_fd.h"

namespace pkgfs {

/// What `diff -u` prints of two files, with `path` as their name. A descriptor that isn't valid stands for a file that
/// doesn't exist. Throws Error(kUnsupported) if diff(1) isn't installed.
[[nodiscard]] std::string text_diff(const std::string& path, const UniqueFd& before, const UniqueFd& after);

}  // namespace pkgfs
