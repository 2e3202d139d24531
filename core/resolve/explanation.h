// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "core/resolve/incompatibilities.h"
#include "core/resolve/package_table.h"

namespace pkgfs {

/// Why there is no tree, from the last of `incompatibilities`, which says that the root can't be had: at most ten lines
/// of the form `{conclusion}, because {fact}, and {fact}`. The final conclusion is first. A fact is a dependency, a
/// cycle, or a conclusion that has a line of its own below. Conclusions are about trees below the root. The last line
/// says how many lines are left out. Empty if one dependency alone is the reason.
[[nodiscard]] std::vector<std::string> explain(const Incompatibilities& incompatibilities, const PackageTable& table);

}  // namespace pkgfs
