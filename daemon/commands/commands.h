// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "daemon/cli/command_table.h"
#include "daemon/cli/io.h"

namespace pkgfs {

/// Runs a command. `args` are the arguments after its name. Returns the exit code; throws Error.
using CommandFunction = int (*)(const std::vector<std::string>& args, const Io& io);

/// The function that runs a command of the command table.
[[nodiscard]] CommandFunction command_function(CommandId id);

int cmd_mount(const std::vector<std::string>& args, const Io& io);
int cmd_serve(const std::vector<std::string>& args, const Io& io);
int cmd_unmount(const std::vector<std::string>& args, const Io& io);
int cmd_mounts(const std::vector<std::string>& args, const Io& io);
int cmd_stats(const std::vector<std::string>& args, const Io& io);
int cmd_refresh(const std::vector<std::string>& args, const Io& io);
int cmd_rollback(const std::vector<std::string>& args, const Io& io);
int cmd_upgrade_mounts(const std::vector<std::string>& args, const Io& io);
int cmd_wait(const std::vector<std::string>& args, const Io& io);
int cmd_inspect(const std::vector<std::string>& args, const Io& io);
int cmd_verify(const std::vector<std::string>& args, const Io& io);
int cmd_tree(const std::vector<std::string>& args, const Io& io);
int cmd_ls(const std::vector<std::string>& args, const Io& io);
int cmd_cat(const std::vector<std::string>& args, const Io& io);
int cmd_extract(const std::vector<std::string>& args, const Io& io);
int cmd_pack(const std::vector<std::string>& args, const Io& io);
int cmd_changes(const std::vector<std::string>& args, const Io& io);
int cmd_discard(const std::vector<std::string>& args, const Io& io);
int cmd_diff(const std::vector<std::string>& args, const Io& io);
int cmd_export(const std::vector<std::string>& args, const Io& io);
int cmd_resolve(const std::vector<std::string>& args, const Io& io);
int cmd_push(const std::vector<std::string>& args, const Io& io);
int cmd_pull(const std::vector<std::string>& args, const Io& io);
int cmd_cache(const std::vector<std::string>& args, const Io& io);
int cmd_config(const std::vector<std::string>& args, const Io& io);
int cmd_volume_plugin(const std::vector<std::string>& args, const Io& io);
int cmd_doctor(const std::vector<std::string>& args, const Io& io);

}  // namespace pkgfs
