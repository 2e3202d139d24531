// SPDX-License-Identifier: MIT
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/cli/options.h"

namespace pkgfs::describe {

/// What can be written for the value of an option.
struct Values {
  std::vector<std::string> words;  // one of these; empty: anything
  bool files = false;
  bool directories = false;
};
[[nodiscard]] Values values_of(const OptionSpec& option);

/// The options of one command, each name once.
[[nodiscard]] std::vector<const OptionSpec*> options_of(CommandId command);
/// The words that `-o` takes, with "=" where a value follows.
[[nodiscard]] std::vector<std::string> words_of_mount();
/// What an option does, in a few words on one line.
[[nodiscard]] std::string short_help(const OptionSpec& option);
/// `names` with blanks between.
[[nodiscard]] std::string joined(const std::vector<std::string>& names);

/// The page of `source` in scdoc(5), with the marks "@commands@", "@options@", "@mount_options@", "@mount_words@" and
/// "@exit_codes@", each on a line of its own, replaced by what the program's tables say, and "@version@" anywhere.
void write_page(std::ostream& out, std::string_view source);
void write_bash(std::ostream& out);
void write_zsh(std::ostream& out);
void write_fish(std::ostream& out);

}  // namespace pkgfs::describe
