// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "core/load/package.h"
#include "core/resolve/resolve.h"
#include "core/tree/package_tree.h"

namespace pkgfs {

/// The packages that the atoms of commands come from: targets of atom annotations that name a dependency, as far as the
/// declaring packages are in `packages` and can be understood (what can't is reported by `build_commands`).
[[nodiscard]] std::set<PackageId> atom_owners(const Resolution& resolution, const LoadedPackages& packages);

struct CommandSet {
  std::vector<LoadedCommand> commands;  // by name
  std::vector<Error> errors;            // of those that are broken, by name
};

/// Builds every command of the resolution (docs/rules/loading.md, 4). One that no runner of ours knows is left out with
/// a warning.
[[nodiscard]] CommandSet build_commands(const Resolution& resolution, const LoadedPackages& packages);

}  // namespace pkgfs
