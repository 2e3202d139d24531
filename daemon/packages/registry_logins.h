// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/oci/authorizer.h"
#include "daemon/cli/io.h"

namespace pkgfs {

/// The files with logins at OCI registries, in the order in which skopeo reads them (containers-auth.json(5)). If
/// REGISTRY_AUTH_FILE names a file, it is the only one. Else they are podman's file of the session
/// ($XDG_RUNTIME_DIR/containers/auth.json) and of the user, and then docker's.
[[nodiscard]] std::vector<std::string> login_files(const Environment& environment);

/// The credentials for a repository, from the first of these files that has some, or from kLoginsVariable (settings.h).
/// None: no file has some. A file that can't be used is left out with a warning. Throws Error if a credential helper
/// fails, and Error(kUsage) if the variable has a malformed text. Any thread may call it.
[[nodiscard]] std::optional<oci::Credentials> find_login(const oci::Reference& repository,
                                                         const Environment& environment);

}  // namespace pkgfs
