// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace pkgfs {

/// Removes `path` and all below it, without following symbolic links. Directories that this user owns but may not
/// write, such as `work/work` of overlayfs and the module cache of Go, get the permissions first. Does nothing if there
/// is no `path`. Throws Error naming `path`.
void remove_tree(const std::string& path);

}  // namespace pkgfs
