// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/load/package.h"
#include "core/webc/json_writer.h"

namespace pkgfs {

/// The problems that `webc::verify` finds in a package.
struct Findings {
  std::vector<std::string> damage;    // the container has changed since it was packed
  std::vector<std::string> mappings;  // it maps a volume or directory that it doesn't have: it can't be loaded
};
/// Reads the whole container and checks all hashes. A directory has no hashes and gives no findings.
[[nodiscard]] Findings check_package(const Package& package);

/// What `inspect` finds out by reading the whole package.
struct PackageFacts {
  nlohmann::json volumes;             // as `volumes_json` makes them
  std::vector<Sha256> atoms;          // of each of the package's atoms
  std::optional<std::uint64_t> size;  // of the container; none for a directory
  std::vector<std::string> problems;  // damage, and entries that can't be read
  std::string validate;               // "ok" or the worst problem
};
[[nodiscard]] PackageFacts read_facts(const Package& package, Findings findings);

/// Prints the document of `inspect --json` for one package. The keys of a container only (size, sha256, index,
/// manifest_cbor) are left out for a directory.
void print_inspect_json(std::ostream& out, const Package& package, const PackageFacts& facts);
/// Prints the value of its key `commands`, sorted by name.
void print_commands_json(std::ostream& out, const Package& package);

/// The value of its key `package_id`: `stated_id`, or its error.
[[nodiscard]] nlohmann::json id_json(const Package& package);
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
