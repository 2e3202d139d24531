// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/tree/package_tree.h"

namespace pkgfs {

/// Refuses to use a directory, open as `directory`, that is or lies in one that a live package of `tree` serves: what
/// is written or mounted there would be part of what is read. `what` names it for the message. Throws Error(kUsage).
void refuse_own_source(const PackageTree& tree, int directory, const std::string& what);

}  // namespace pkgfs
