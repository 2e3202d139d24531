// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>

#include "core/load/package_loader.h"
#include "core/resolve/lock_file.h"
#include "core/source/reach.h"

namespace pkgfs {

/// A lock file that agrees with its packages, and its first package, the root.
struct LockedPackages {
  LockFile lock;
  std::shared_ptr<const Package> root;
};

struct LockReading {
  Reach& reach;
  PackageLoader& loader;
  OpenOptions root = {};          // how a root on this machine is opened
  bool skip_unavailable = false;  // a dependency that can't be loaded counts as one without files and dependencies
  bool is_never_path = false;     // NetworkFlags
};

/// Reads and parses the lock file at `path`, and opens none of its packages. Throws Error that names the lock file;
/// Error(kNotFound) if there is none. `text` gets what the file has; may be null.
[[nodiscard]] LockFile parse_lock_file(const std::string& path, std::string* text = nullptr);

/// Opens the packages of `lock`, the lock file of an artifact in an OCI registry, as `read_lock` does. `name` is
/// that of the artifact, for messages. Throws Error that names the artifact.
[[nodiscard]] LockedPackages open_artifact(LockFile lock, const std::string& name, const LockReading& reading);

/// Takes `lock`, which was parsed from the file at `path`, for `text`, a PACKAGE of the command line. Opens its
/// packages level by level, the root first. Each package is compared with its entry in the file (lock_file.h).
///
/// The file may come from a stranger. So a package is opened only if `text`, or a manifest of the level before, asks
/// for it. The package with that manifest must be allowed to ask (core/source/reach.h). A directory must be asked for
/// by its path. The settings must also allow the place of the package, such as its registry. Every package may ask for
/// packages of a registry in the settings, so these are loaded at once, before the levels.
///
/// Throws Error that names the lock file; Error(kUsage) if it wasn't written for `text`.
[[nodiscard]] LockedPackages read_lock(LockFile lock, const std::string& path, const std::string& text,
                                       const LockReading& reading);

}  // namespace pkgfs
