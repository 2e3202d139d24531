// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pkgfs {

/// What a name in a served directory can mean, by its syntax alone (docs/SERVE.md).
struct NameSyntax {
  enum class Kind : std::uint8_t {
    kNothing,
    kNamespace,
    kHashes,         // "sha256"
    kLocked,         // "locked"
    kLocks,          // ".locks"
    kExact,          // one version of a package, or a container by its hash
    kRequirement,    // the newest version, or the newest that satisfies a requirement
    kLockedPackage,  // the packages of a lock file
  };
  Kind kind = Kind::kNothing;
  std::string full_name = {};  // of kExact and kRequirement, without the version; empty for a hash
  std::string specifier = {};  // of these; of kLockedPackage, the name of the lock file without ".lock"
  /// Whether a registry on the network may be asked for it. Not for names such as "libfoo.so", "desktop.ini" and
  /// "node_modules", which programs look up everywhere; only a registry directory may have those.
  bool is_plain = true;
};

/// `directory` is empty (the served directory itself), "sha256", "locked", or a namespace.
[[nodiscard]] NameSyntax syntax_of(std::string_view directory, std::string_view name);
/// The same for the path of a name, such as "acme/app@1.0.0".
[[nodiscard]] NameSyntax syntax_of_path(std::string_view path);

}  // namespace pkgfs
