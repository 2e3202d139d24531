// SPDX-License-Identifier: MIT
#pragma once

#include <iosfwd>
#include <string>

#include "daemon/cli/command_table.h"

namespace pkgfs {

/// Prints a sentence about pkgfs, examples, and the list of commands.
void print_general_help(std::ostream& out);
/// Prints usage, description, examples and all options of one command. Many options come in groups (option_table.h).
void print_command_help(std::ostream& out, const CommandSpec& command);
void print_exit_codes(std::ostream& out);

/// Prints the help of a topic: the name of a command, or `exit-codes`. Throws Error(kUsage) for another topic.
void print_help_topic(std::ostream& out, const std::string& topic);

/// Throws Error(kUsage) that names `name` and, if there is one, a command with a similar name.
[[noreturn]] void refuse_unknown_command(const std::string& name);

}  // namespace pkgfs
