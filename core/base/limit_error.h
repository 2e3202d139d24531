// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string_view>

#include "core/base/error.h"
#include "core/base/limits.h"

namespace pkgfs {

/// The Error(kUnsupported) of a package that exceeds the limit of core/base/limits.h that is `member` of `set`:
/// `The "{package}" package exceeds the limit of {limit} {what} for {set}: {value}`. `what` is a plural, such as
/// "mappings in a tree". Says what to do if the package would be within the limits for local packages.
[[nodiscard]] Error limit_error(std::string_view package, std::string_view what, std::size_t value,
                                const limits::PackageLimits& set, std::size_t limits::PackageLimits::* member);

}  // namespace pkgfs
