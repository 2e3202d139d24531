// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string_view>

#include "core/base/error.h"

namespace pkgfs {

/// The Error(kUnsupported) of a package that exceeds a limit of core/base/limits.h:
/// `The "{package}" package exceeds the limit of {limit} {what}: {value}`. `what` is a plural, such as "mappings in a
/// tree".
[[nodiscard]] Error limit_error(std::string_view package, std::string_view what, std::size_t value, std::size_t limit);

}  // namespace pkgfs
