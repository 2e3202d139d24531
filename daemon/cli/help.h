// SPDX-License-Identifier: MIT
#pragma once

#include <iosfwd>
#include <string>

#include "daemon/cli/command_table.h"

namespace pkgfs {

/// The list of commands.
void print_general_help(std::ostream& out);
/// Usage, description and every option of one command, from the option table.
void print_command_help(std::ostream& out, const CommandSpec& command);
void print_exit_codes(std::ostream& out);

/// `pkgfs help [TOPIC]`: a command's name or `exit-codes`. Throws Error(kUsage) for another topic.
void print_help_topic(std::ostream& out, const std::string& topic);

/// Throws Error(kUsage) that names `name` and, if there is one, a command it may have been meant for.
[[noreturn]] void refuse_unknown_command(const std::string& name);

}  // namespace pkgfs
