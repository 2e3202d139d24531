// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string_view>

#include "core/base/error.h"
#include "core/base/limits.h"

namespace pkgfs {

/// The Error(kUnsupported) for a package whose `value` exceeds the limit `set.*member` (core/base/limits.h). Its
/// message is `The "{package}" package exceeds the limit of {limit} {what} for {set.name}: {value}`. `what` is a
/// plural, such as "mappings in a tree". If `value` is within the limit for local packages, a second message says what
/// the user can do.
[[nodiscard]] Error limit_error(std::string_view package, std::string_view what, std::size_t value,
                                const limits::PackageLimits& set, std::size_t limits::PackageLimits::* member);

}  // namespace pkgfs
