// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>

#include "core/load/package_loader.h"
#include "core/resolve/lock_file.h"
#include "core/source/reach.h"

namespace pkgfs {

/// A lock file that agrees with its packages. The first one is open.
struct LockedPackages {
  LockFile lock;
  std::shared_ptr<const Package> root;
};

struct LockReading {
  Reach& reach;
  PackageLoader& loader;
  OpenOptions root = {};          // how a root on this machine is opened
  bool skip_unavailable = false;  // a dependency that can't be loaded counts as one without files and dependencies
};

/// Reads the lock file at `path` for `text`, a PACKAGE of the command line, and opens its packages level by level, the
/// root first. A package is opened only if `text` or a manifest of the level before asks for it, if that manifest may
/// (core/source/reach.h), and if the registries in the settings may have it: the file may come from a stranger. Every
/// package may ask for those of a registry in the settings, so they are loaded at once, before the levels. A directory
/// must be asked for by its path. Each package is compared with what the file says of it (lock_file.h).
///
/// Throws Error that names the lock file; Error(kUsage) if it wasn't written for `text`.
[[nodiscard]] LockedPackages read_lock_file(const std::string& path, const std::string& text,
                                            const LockReading& reading);

}  // namespace pkgfs
