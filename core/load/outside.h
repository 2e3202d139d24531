// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/package/wasmer_toml.h"

namespace pkgfs {

/// Checks that every path of a `wasmer.toml` stays inside its package directory (docs/rules/webc-format.md, 12.7). The
/// directory can come from a stranger, and pkgfs may run as root: a path that leads out would publish a file of the
/// host. `base` is a descriptor of the directory, `name` its name for messages.
///
/// Throws Error(kPermission) that names the manifest, the key, the value and where it leads. With `allow_outside`,
/// warns instead of each path that leads out by its own text. A symbolic link in the package may not lead out in any
/// case, since its owner could point it anywhere after the check.
void check_outside(const WasmerToml& toml, int base, const std::string& name, bool allow_outside);

}  // namespace pkgfs
