// SPDX-License-Identifier: MIT
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/cli/options.h"

namespace pkgfs::describe {

/// The values that an option accepts, as far as a completion can offer them.
struct Values {
  std::vector<std::string> words;  // the value is one of these; empty: any text
  bool files = false;
  bool directories = false;
};
[[nodiscard]] Values values_of(const OptionSpec& option);

/// The options of one command, each name once.
[[nodiscard]] std::vector<const OptionSpec*> options_of(CommandId command);
/// The names of the commands that take `option`, separated by commas; "every command" where all do.
[[nodiscard]] std::string commands_with(const OptionSpec& option);
/// The words that `-o` takes, with "=" where a value follows.
[[nodiscard]] std::vector<std::string> words_of_mount();
/// The first part of an option's help text, on one line: what completions show.
[[nodiscard]] std::string short_help(const OptionSpec& option);
/// `names` separated by blanks.
[[nodiscard]] std::string joined(const std::vector<std::string>& names);

/// Writes a manual page from its `source` in scdoc(5). The marks "@commands@", "@options@", "@mount_options@",
/// "@mount_words@" and "@exit_codes@", each on a line of its own, are replaced by lists from the program's tables;
/// "@version@" is replaced anywhere.
void write_page(std::ostream& out, std::string_view source);
/// docs/REFERENCE.md: every command, option, mount option and exit code, in Markdown.
void write_reference(std::ostream& out);
void write_bash(std::ostream& out);
void write_zsh(std::ostream& out);
void write_fish(std::ostream& out);

}  // namespace pkgfs::describe
