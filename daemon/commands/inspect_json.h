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
  /// Wrong contents or a wrong structure: the container has changed since it was packed.
  std::vector<std::string> damage;
  /// Mappings of a volume or directory that the package doesn't have: the package can't be loaded.
  std::vector<std::string> mappings;
};
/// Reads the whole container and checks all hashes. A directory has no hashes and gives no findings.
[[nodiscard]] Findings check_package(const Package& package);

/// The results for `inspect` that need a look at the whole package.
struct PackageFacts {
  nlohmann::json volumes;                    // as `volumes_json` or `volumes_in_parts_json` makes them
  std::vector<std::optional<Sha256>> atoms;  // of each of the package's atoms
  std::optional<std::uint64_t> size;         // of the container; none for a directory
  std::optional<Sha256> sha256;              // the same; also none if it isn't known
  std::vector<std::string> problems;         // damage, and entries that can't be read
  std::string validate;                      // "ok", or the first one of `problems`, or else of Findings::mappings
  bool in_parts = false;                     // no file was read: hashes are those that the package states
};
[[nodiscard]] PackageFacts read_facts(const Package& package, Findings findings);
/// The same for a package of which only parts are read. `most`: see `volumes_in_parts_json`. Throws Error if they can't
/// be fetched.
[[nodiscard]] PackageFacts read_facts_in_parts(const Package& package, std::uint64_t most);

/// Prints the document of `inspect --json` for one package. For a directory, leaves out the keys that only a container
/// has: size, sha256, index and manifest_cbor. A document of which only parts were read also has the key `in_parts`.
void print_inspect_json(std::ostream& out, const Package& package, const PackageFacts& facts);
/// Prints only the value of the key `commands` of that document, sorted by name.
void print_commands_json(std::ostream& out, const Package& package);

/// The value of the key `package_id` of that document: `stated_id`, or its error.
[[nodiscard]] nlohmann::json id_json(const Package& package);
/// The name and version in the manifest of a package (`name@version`), unchecked. If it has no name, the hash of the
/// package. If only parts of the package are read, and its hash isn't known, the package's name for messages. Throws
/// Error for a malformed annotation.
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
