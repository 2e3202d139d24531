// SPDX-License-Identifier: MIT
#pragma once

namespace pkgfs {

/// Removes everything in the directory that `directory` is open on, as far as it can. Follows no link, goes nowhere
/// else, and holds a handful of descriptors however deep it is.
void remove_contents(int directory);

}  // namespace pkgfs
