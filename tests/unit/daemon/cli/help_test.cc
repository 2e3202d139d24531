// SPDX-License-Identifier: MIT
#include "daemon/cli/help.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "daemon/cli/console.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/mount_words.h"
#include "daemon/cli/option_table.h"
#include "daemon/cli/options.h"
#include "tests/support/fixtures.h"
#include "tests/support/patterns.h"

namespace pkgfs::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string help_of(CommandId command) {
  std::ostringstream out;
  print_command_help(out, command_spec(command));
  return out.str();
}

/// `text` on one line, without the marks of Markdown and scdoc.
std::string plain(const std::string& text) {
  return test::replace_all(test::replace_all(text, "[`*\\\\]", ""), "\\s+", " ");
}

TEST(Help, OptionsAreSortedByGroupAndEachGroupHasASentence) {
  EXPECT_TRUE(std::ranges::is_sorted(option_table(), {}, &OptionSpec::group));
  for (std::size_t i = 0; i < option_groups().size(); ++i) {
    const OptionGroupSpec& group = option_groups()[i];
    EXPECT_EQ(static_cast<std::size_t>(group.id), i);
    EXPECT_TRUE(group.text.ends_with('.'));
    EXPECT_TRUE(std::ranges::any_of(option_table(), [&](const OptionSpec& o) { return o.group == group.id; }));
  }
}

TEST(Help, OptionsOfOneNameHaveDifferentCommands) {
  std::map<std::string_view, unsigned> commands;
  for (const OptionSpec& option : option_table()) {
    EXPECT_EQ(commands[option.name] & option.commands, 0U) << option.name;
    commands[option.name] |= option.commands;
  }
}

TEST(Help, OfMountHasItsGroupsInOrder) {
  const std::string help = help_of(CommandId::kMount);
  std::size_t before = 0;
  for (const OptionGroupSpec& group : option_groups()) {
    const std::size_t at = help.find("\n" + std::string(group.title) + ": ");
    const bool shown = std::ranges::any_of(option_table(), [&](const OptionSpec& option) {
      return option.group == group.id && takes(option, CommandId::kMount);
    });
    EXPECT_EQ(at != std::string::npos, shown) << group.title;
    if (shown) {
      EXPECT_GT(at, before) << group.title;
      before = at;
    }
  }
  EXPECT_THAT(help_of(CommandId::kUnmount), AllOf(HasSubstr("\nOptions:\n"), Not(HasSubstr("Output:")))) << "a few";
}

/// The sentence about `-o` is true: tests/unit/daemon/cli/options_test.cc tries every option.
TEST(Help, OfMountNamesTheOptionsThatMinusORefuses) {
  const std::string help = plain(help_of(CommandId::kMount));
  EXPECT_THAT(help, HasSubstr("-o takes every option above but token, on-change and foreground: "));
  EXPECT_THAT(help, HasSubstr("There pkgfs ignores rw, suid and dev, which mount(8) adds by itself."));
}

TEST(Help, FitsATerminal) {
  std::ostringstream out;
  print_general_help(out);
  print_exit_codes(out);
  for (const CommandSpec& command : command_table()) {
    print_command_help(out, command);
  }
  std::istringstream lines(out.str());
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(columns_of(line), 80U) << line;
  }
}

TEST(Help, PackageHasOneDefinition) {
  const std::string definition(kPackageDefinition);
  std::ostringstream general;
  print_general_help(general);
  EXPECT_THAT(plain(general.str()), HasSubstr(definition));
  for (const CommandSpec& command : command_table()) {
    const std::string help = plain(help_of(command.id));
    EXPECT_EQ(help.find(definition) != std::string::npos, command.operands.starts_with("PACKAGE")) << command.name;
  }
  for (const char* page : {"README.md", "packaging/man/pkgfs.1.scd"}) {
    const std::string text = plain(read_text(source_directory() / page));
    EXPECT_THAT(text, HasSubstr(definition)) << page;
    EXPECT_EQ(test::find_all_groups(text, "PACKAGE` ?is|PACKAGE is").size(), 1U) << page;
  }
}

/// Examples are correct command lines, of the command that they explain.
TEST(Help, ExamplesCanBeTyped) {
  for (const CommandSpec& command : command_table()) {
    std::istringstream lines{std::string(command.examples)};
    for (std::string line; std::getline(lines, line);) {
      std::istringstream stream(line);
      std::vector<std::string> words{std::istream_iterator<std::string>(stream), {}};
      if (words.front() != "pkgfs") {
        continue;  // docker's
      }
      ASSERT_GE(words.size(), 2U) << line;
      EXPECT_EQ(words[1], command.name) << line;
      words.erase(words.begin(), words.begin() + 2);
      EXPECT_NO_THROW((void)parse_options(command.id, words, 0, 9)) << line;
    }
  }
}

}  // namespace
}  // namespace pkgfs::test
