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

/// The dependencies whose atoms the commands run, as the `atom` annotations of the commands name them. Leaves out a
/// command whose package isn't in `packages`, and a command that is broken: `build_commands` reports it.
[[nodiscard]] std::set<PackageId> atom_owners(const Resolution& resolution, const LoadedPackages& packages);

struct CommandSet {
  std::vector<LoadedCommand> commands;  // by name
  std::vector<Error> errors;            // one for each broken command, by its name
};

/// Builds every command of the resolution (docs/rules/loading.md, 4). Leaves out a command with an unknown runner, with
/// a warning.
[[nodiscard]] CommandSet build_commands(const Resolution& resolution, const LoadedPackages& packages);

}  // namespace pkgfs
