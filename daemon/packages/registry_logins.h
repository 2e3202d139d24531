// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "core/oci/authorizer.h"
#include "daemon/cli/io.h"

namespace pkgfs {

/// Where the logins of a user at OCI registries are: in kLoginsVariable (settings.h), or in files. The files are read
/// at each login, because passwords change. An immutable value; any thread may call its functions.
class RegistryLogins {
 public:
  /// Relative paths in the environment count from `directory`; empty: from that of the process, as it is now. A daemon
  /// changes its directory later.
  RegistryLogins(const Environment& environment, const std::string& directory);

  /// The files, in the order in which skopeo reads them (containers-auth.json(5)). All paths are absolute. If
  /// REGISTRY_AUTH_FILE names a file, it is the only one. Else they are podman's file of the session
  /// ($XDG_RUNTIME_DIR/containers/auth.json) and of the user, and then docker's.
  [[nodiscard]] const std::vector<std::string>& files() const { return files_; }

  /// The credentials for a repository, from the variable, or from the first file that has some. None: no file has some.
  /// A file that can't be used is left out with a warning. Throws Error if a credential helper fails,
  /// Error(kInterrupted), and Error(kUsage) if the variable has a malformed text.
  [[nodiscard]] std::optional<oci::Credentials> find(const oci::Reference& repository, const CancelFlag& cancel) const;

  /// A text that is the same only for the same login at `repository`; empty if there is none. It has the secret, so it
  /// must not be written anywhere. Runs no helper: instead of the credentials, the text names the helper that has them.
  /// Throws Error(kUsage) as `find`.
  [[nodiscard]] std::string identity(const oci::Reference& repository) const;

 private:
  [[nodiscard]] std::optional<oci::Credentials> find_in_variable(const oci::Reference& repository) const;

  std::string text_;  // of the variable
  std::vector<std::string> files_;
};

}  // namespace pkgfs
