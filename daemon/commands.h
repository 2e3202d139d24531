// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/program.h"

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

/// `args`: what follows the command's name. Returns the exit code; throws Error.
using CommandFunction = int (*)(const std::vector<std::string>& args, const Io& io);

struct CommandSpec {
  CommandId id;
  std::string_view name;
  std::string_view operands;     // as the usage line shows them
  std::string_view summary;      // one line, for the list of commands
  std::string_view description;  // paragraphs, for its own help
  CommandFunction run;
};

/// The dispatch table, in the order of the help text.
[[nodiscard]] std::span<const CommandSpec> command_table();
/// By name or alias (`umount`); null if there is no such command.
[[nodiscard]] const CommandSpec* find_command(std::string_view name);
[[nodiscard]] const CommandSpec& command_spec(CommandId id);

int cmd_mount(const std::vector<std::string>& args, const Io& io);
int cmd_unmount(const std::vector<std::string>& args, const Io& io);
int cmd_mounts(const std::vector<std::string>& args, const Io& io);
int cmd_stats(const std::vector<std::string>& args, const Io& io);
int cmd_inspect(const std::vector<std::string>& args, const Io& io);
int cmd_verify(const std::vector<std::string>& args, const Io& io);
int cmd_tree(const std::vector<std::string>& args, const Io& io);
int cmd_ls(const std::vector<std::string>& args, const Io& io);
int cmd_cat(const std::vector<std::string>& args, const Io& io);
int cmd_extract(const std::vector<std::string>& args, const Io& io);
int cmd_resolve(const std::vector<std::string>& args, const Io& io);
int cmd_pull(const std::vector<std::string>& args, const Io& io);
int cmd_cache(const std::vector<std::string>& args, const Io& io);
int cmd_config(const std::vector<std::string>& args, const Io& io);
int cmd_volume_plugin(const std::vector<std::string>& args, const Io& io);
int cmd_doctor(const std::vector<std::string>& args, const Io& io);

}  // namespace pkgfs
