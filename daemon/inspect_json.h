// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/load/package.h"

namespace pkgfs {

/// What `inspect --json` prints: one package by itself, with the SHA-256 of every file and atom, so everything is read.
/// `problems`: what `webc::verify` found; what can't be read is added to it. Keys that only a container has (size,
/// sha256, index, manifest_cbor) are left out for a directory.
[[nodiscard]] nlohmann::json inspect_json(const Package& package, std::vector<std::string> problems);

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
