// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/load/package_loader.h"
#include "core/resolve/lock_file.h"

namespace pkgfs {

/// Reads the lock file at `path`, compares the local files that it names with their hashes, loads all its packages, and
/// confirms what it says of them with their manifests (lock_file.h). Each package must be one that its dependents ask
/// for; a directory only if they ask for its path. `skip_unavailable`: a dependency that can't be loaded counts as one
/// without files, commands and dependencies. Throws Error that names the lock file.
[[nodiscard]] LockFile read_lock_file(const std::string& path, PackageLoader& loader, bool skip_unavailable);

/// The root of `lock`, read from `path`. Throws Error(kUsage) if `text`, a PACKAGE of the command line, isn't the
/// package that the lock file was written for.
[[nodiscard]] const PackageSummary& locked_root(const LockFile& lock, const std::string& path, const std::string& text);

}  // namespace pkgfs
