// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string_view>

namespace pkgfs {

/// The commands of the program; also the bit numbers in the option table (options.h).
enum class CommandId : unsigned {
  kMount,
  kUnmount,
  kMounts,
  kStats,
  kInspect,
  kVerify,
  kTree,
  kLs,
  kCat,
  kExtract,
  kResolve,
  kPull,
  kCache,
  kConfig,
  kVolumePlugin,
  kDoctor,
};

struct CommandSpec {
  CommandId id;
  std::string_view name;
  std::string_view operands;     // as the usage line shows them
  std::string_view summary;      // one line, for the list of commands
  std::string_view description;  // paragraphs, for its own help
};

/// In the order of the help text.
[[nodiscard]] std::span<const CommandSpec> command_table();
/// By name or alias (`umount`); null if there is no such command.
[[nodiscard]] const CommandSpec* find_command(std::string_view name);
[[nodiscard]] const CommandSpec& command_spec(CommandId id);

}  // namespace pkgfs
