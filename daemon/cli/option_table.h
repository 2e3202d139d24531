// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "daemon/cli/command_table.h"

namespace pkgfs {

struct Options;

/// The headings under which help, manual pages and docs/REFERENCE.md list the options, in this order.
enum class OptionGroup : unsigned {
  kCommand,
  kPackages,
  kTree,
  kAccess,
  kDaemon,
  kPlugin,
  kNetwork,
  kOutput,
  kSpeed,
};

struct OptionGroupSpec {
  OptionGroup id;
  std::string_view title;
  std::string_view text;  // one sentence
};

/// In the order of the enumeration.
[[nodiscard]] std::span<const OptionGroupSpec> option_groups();

/// One option. Parsing, `-o`, help, manual pages, docs/REFERENCE.md and completions all follow this row.
struct OptionSpec {
  OptionGroup group;
  std::string_view name;      // without dashes; in `-o`, "_" may replace each "-"
  char letter = '\0';         // NUL: none
  std::string_view argument;  // the placeholder for the value in help; empty: a switch
  std::string_view help;      // sentences; the first has no capital, the last no full stop
  unsigned commands = 0;      // bit set over CommandId
  bool mount_word = false;    // `-o` takes it; if not, mount_words() has a row that refuses it with the reason
  void (*apply)(Options& options, std::string_view value) = nullptr;  // throws Error(kUsage)
  bool optional = false;  // the value may be missing; then it is the first one of `argument`
};

/// Sorted by group; within a group the most used option comes first. A name can occur in several rows, but no two rows
/// of one name share a command.
[[nodiscard]] std::span<const OptionSpec> option_table();
/// The text after the name where the option is described: `=DIR`, `[=yes|no]`; empty for a switch.
[[nodiscard]] std::string value_text(const OptionSpec& option);
/// The value of an option that is given without one; empty for a switch.
[[nodiscard]] std::string_view implied_value(const OptionSpec& option);
[[nodiscard]] bool takes(const OptionSpec& option, CommandId command);

}  // namespace pkgfs
