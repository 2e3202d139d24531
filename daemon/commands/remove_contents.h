// SPDX-License-Identifier: MIT
#pragma once

namespace pkgfs {

/// Removes the contents of the directory that `directory` is open on, as far as possible. It follows no symbolic link.
/// It stays in the directory even if another process moves a part of it. It needs few descriptors at any depth.
void remove_contents(int directory);

}  // namespace pkgfs
