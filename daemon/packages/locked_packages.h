// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/resolve/lock_file.h"

namespace pkgfs {

/// Reads the lock file at `path`, and compares the local files that it names with their hashes. Throws Error that names
/// the lock file.
[[nodiscard]] LockFile read_lock_file(const std::string& path);

/// The root of `lock`, read from `path`. Throws Error(kUsage) if `text`, a PACKAGE of the command line, isn't the
/// package that the lock file was written for.
[[nodiscard]] const PackageSummary& locked_root(const LockFile& lock, const std::string& path, const std::string& text);

}  // namespace pkgfs
