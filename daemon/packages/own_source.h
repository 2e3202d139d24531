// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/tree/package_tree.h"

namespace pkgfs {

/// Refuses a directory that a live package of `tree` shows, or that lies in such a directory. Files that are written or
/// mounted there would become part of the tree. `directory` is a descriptor, and `what` names the directory in the
/// message. Throws Error(kUsage).
void refuse_own_source(const PackageTree& tree, int directory, const std::string& what);
/// The same for the directory `path`, or, if that isn't a directory yet, for the one that it would be in. Refuses
/// nothing if neither can be opened: what writes to `path` then says why.
void refuse_own_source(const PackageTree& tree, const std::string& path);
/// The same for one package.
void refuse_own_source(const Package& package, const std::string& path);
void refuse_own_source(const Package& package, int directory, const std::string& what);

}  // namespace pkgfs
