// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/tree/package_tree.h"

namespace pkgfs {

/// Refuses the directory that `directory` is open on if it is, or lies in, a directory that a live package of `tree`
/// serves: files written or mounted there would become part of the tree. `what` names the directory in the message.
/// Throws Error(kUsage).
void refuse_own_source(const PackageTree& tree, int directory, const std::string& what);

}  // namespace pkgfs
