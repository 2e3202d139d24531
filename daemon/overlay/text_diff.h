// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "core/base/function_ref.h"
#include "core/base/unique_fd.h"

namespace pkgfs {

/// What `diff -u` prints of two files, with `path` as their name, in pieces for `take`. A descriptor that isn't valid
/// stands for a file that doesn't exist. diff(1) holds both files in memory, but this process holds no more than a
/// piece. Throws Error(kUnsupported) if diff(1) isn't installed.
void text_diff(const std::string& path, const UniqueFd& before, const UniqueFd& after,
               FunctionRef<void(std::string_view)> take);

}  // namespace pkgfs
