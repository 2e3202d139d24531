// SPDX-License-Identifier: MIT
#pragma once

#include "core/load/directory_package.h"

namespace pkgfs {

struct PackOptions {
  /// Leave out what the ignore rules keep out of a build (ignore_rules.h).
  bool apply_ignore_rules = false;
};

/// Writes `package` as a version 3 container to the file `fd`, which is empty (webc-format.md 12.4): files by name,
/// times in whole seconds, volume roots and atoms without a time. Links are stored as they are: a reader clamps those
/// that leave their volume. Throws Error for what a container can't hold: a name that isn't UTF-8, a FIFO, socket or
/// device.
void pack_package(const DirectoryPackage& package, int fd, const PackOptions& options);

}  // namespace pkgfs
