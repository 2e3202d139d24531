// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/load/package.h"

namespace pkgfs {

/// What `webc::verify` finds in a package, in two kinds.
struct Findings {
  std::vector<std::string> damage;  // the container isn't what somebody packed
  std::vector<std::string>
      mappings;  // sound, but it maps a volume or directory that it doesn't have: it can't be loaded
};
/// Reads the whole container, hashes included. Nothing for a directory: there is nothing to compare.
[[nodiscard]] Findings check_package(const Package& package);

/// What `inspect --json` prints: one package by itself, with the SHA-256 of every file and atom, so everything is read.
/// Keys that only a container has (size, sha256, index, manifest_cbor) are left out for a directory.
[[nodiscard]] nlohmann::json inspect_json(const Package& package, Findings findings);

/// Its key `commands`: sorted by name.
[[nodiscard]] nlohmann::json commands_json(const webc::Manifest& manifest);

/// The name that a package gives itself, as text and unchecked (`name@version`), else its hash. Throws Error for a
/// malformed annotation.
[[nodiscard]] std::string stated_id(const Package& package);

/// One command as its package states it.
struct CommandRow {
  const webc::Command* command;
  std::optional<webc::AtomRef> atom;
  std::optional<std::string> problem;  // why it can't be run
};
/// By name. A command is broken when its annotations can't be read, or name an atom or a dependency that this package
/// doesn't have. Dependencies are not opened: what is in them isn't checked.
[[nodiscard]] std::vector<CommandRow> command_rows(const Package& package);

}  // namespace pkgfs
