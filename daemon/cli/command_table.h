// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string_view>

namespace pkgfs {

/// The commands of the program. The values are also bit numbers in the option table (option_table.h).
enum class CommandId : unsigned {
  kMount,
  kServe,
  kUnmount,
  kMounts,
  kStats,
  kWait,
  kRefresh,
  kRollback,
  kUpgradeMounts,
  kInspect,
  kVerify,
  kTree,
  kLs,
  kCat,
  kExtract,
  kDiff,
  kExport,
  kPack,
  kChanges,
  kDiscard,
  kResolve,
  kPull,
  kPush,
  kCache,
  kConfig,
  kVolumePlugin,
  kDoctor,
};

/// The one definition of the operand PACKAGE. Help and docs/REFERENCE.md print it; README.md and pkgfs(1) quote it, and
/// a test compares them.
inline constexpr std::string_view kPackageDefinition =
    "PACKAGE is a .webc file, a directory with a wasmer.toml, a package tarball (.tar.gz), a URL, or a specifier such "
    "as "
    "namespace/name@^1.2.";

/// One command. Dispatch, help, manual pages, docs/REFERENCE.md and completions follow this row.
struct CommandSpec {
  CommandId id;
  std::string_view name;
  std::string_view operands;     // as the usage line shows them
  std::string_view summary;      // one phrase without capital and full stop, for the list of commands
  std::string_view description;  // sentences; "\n" starts a new line; scdoc takes "-" at the beginning for a list
  std::string_view examples;     // command lines, separated by "\n"
};

/// In the order of the help text.
[[nodiscard]] std::span<const CommandSpec> command_table();
/// The command with this name or alias (`umount`); null if there is none.
[[nodiscard]] const CommandSpec* find_command(std::string_view name);
[[nodiscard]] const CommandSpec& command_spec(CommandId id);

}  // namespace pkgfs
