// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "core/resolve/incompatibilities.h"
#include "core/resolve/package_table.h"

namespace pkgfs {

/// Explains why there is no tree. The last one of `incompatibilities` must say that no tree has the root. Returns at
/// most ten lines of the form `{conclusion}, because {fact}, and {fact}`. The first line has the final conclusion. A
/// fact is a dependency, a cycle, or a conclusion that has a line of its own below. A conclusion doesn't mention the
/// root if it can do without, because every tree has the root. If lines are left out, the last line says how many.
/// Empty if one dependency alone is the reason.
[[nodiscard]] std::vector<std::string> explain(const Incompatibilities& incompatibilities, const PackageTable& table);

}  // namespace pkgfs
