// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/package/package_info.h"

namespace pkgfs {

/// Why the package at `from` may not depend on `wanted`; nothing if it may (core/source/reach.h).
using MayDepend =
    std::function<std::optional<std::string>(const DistributionInfo& from, const PackageSpecifier& wanted)>;

}  // namespace pkgfs
