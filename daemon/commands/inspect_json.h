// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/load/package.h"

namespace pkgfs {

/// The problems that `webc::verify` finds in a package.
struct Findings {
  std::vector<std::string> damage;    // the container has changed since it was packed
  std::vector<std::string> mappings;  // it maps a volume or directory that it doesn't have: it can't be loaded
};
/// Reads the whole container and checks all hashes. A directory has no hashes and gives no findings.
[[nodiscard]] Findings check_package(const Package& package);

/// The document of `inspect --json` for one package. It reads the whole package, because it has the SHA-256 of every
/// file and atom. The keys of a container only (size, sha256, index, manifest_cbor) are left out for a directory.
[[nodiscard]] nlohmann::json inspect_json(const Package& package, Findings findings);

/// The value of its key `commands`, sorted by name.
[[nodiscard]] nlohmann::json commands_json(const webc::Manifest& manifest);

/// The unchecked name in the manifest of a package (`name@version`), else its hash. Throws Error for a malformed
/// annotation.
[[nodiscard]] std::string stated_id(const Package& package);

/// One command in the manifest of a package.
struct CommandRow {
  const webc::Command* command;
  std::optional<webc::AtomRef> atom;
  std::optional<std::string> problem;  // why it can't be run
};
/// The commands, sorted by name. A command is broken if its annotations can't be read, or name an atom or a dependency
/// that the package doesn't have. Dependencies aren't opened, so their contents aren't checked.
[[nodiscard]] std::vector<CommandRow> command_rows(const Package& package);

}  // namespace pkgfs
