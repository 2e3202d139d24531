// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/package/wasmer_toml.h"

namespace pkgfs {

/// Checks that every path of a `wasmer.toml` stays inside its package directory (docs/rules/webc-format.md, 12.7). The
/// directory may come from a stranger, and pkgfs may run as root. A path that leads out would then show a file of the
/// host to every reader. `base` is a descriptor of the directory, and `name` is its name for messages.
///
/// Throws Error(kPermission) that names the manifest, the key, the value and the place where it leads. With
/// `allow_outside`, a path that leads out by its own text gives a warning instead. A symbolic link in the package may
/// never lead out, because its owner could change its target after the check.
void check_outside(const WasmerToml& toml, int base, const std::string& name, bool allow_outside);

}  // namespace pkgfs
