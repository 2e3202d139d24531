// SPDX-License-Identifier: MIT
#pragma once

#include "core/resolve/lock_file.h"

namespace pkgfs {

/// Checks that a lock file, which may come from a stranger, leads to no directory of the host that its packages don't
/// name. The hash of a file says which file is meant, but a directory has none. So a locked directory must be the root,
/// or be named by a path in each package that depends on it; `resolve` checks which packages may name a path. Throws
/// Error(kPermission) that names both. For what `parse_lock` returned, before any of its packages is opened.
void check_lock_reach(const LockFile& lock);

}  // namespace pkgfs
