// SPDX-License-Identifier: MIT
#include <algorithm>
#include <ostream>
#include <string>

#include "daemon/cli/command_table.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/mount_words.h"
#include "daemon/cli/text_output.h"
#include "packaging/describe/describe.h"

namespace pkgfs::describe {
namespace {

constexpr std::size_t kWidth = 100;  // columns of a line of documentation

constexpr std::string_view kNote =
    "<!-- Written by `pkgfs_describe reference` from the program's tables; CONTRIBUTING.md says how. Don't edit. -->";

constexpr std::string_view kIntroduction =
    "This page lists every command, option, mount option and exit code of pkgfs. `pkgfs help COMMAND` prints the same "
    "text for one command. The manual pages pkgfs(1) and mount.pkgfs(8) have it as well.";

constexpr std::string_view kOptions =
    "Options may stand before or after operands; `--` ends the options. `pkgfs mount -o` and mount(8) take most long "
    "options as well, without the dashes and with `_` for `-`; \"In `-o`\" below marks them. If a value has a comma, "
    "quote the value: `-o 'lock=\"a,b\"'`. `pkgfs mount -o` also takes `\\,`.";

constexpr std::string_view kMountWords =
    "mount(8), `/etc/fstab` and libfuse use more words in `-o`. pkgfs honours these:";

constexpr std::string_view kExitCodes =
    "mount(8) expects other codes of its helpers. When mount(8) calls pkgfs, the exit code is the one in the last "
    "column.";

std::string paragraph(std::string_view text) { return wrapped(text, kWidth) + "\n"; }

std::string code(std::string_view text) { return "`" + std::string(text) + "`"; }

/// In a cell of a table.
std::string cell(std::string_view text) {
  std::string result;
  for (const char c : text) {
    result += c == '|' ? "\\|" : std::string(1, c == '\n' ? ' ' : c);
  }
  return result;
}

void add(std::string& list, std::string_view word) {
  list += list.empty() ? "" : ", ";
  list += word;
}

std::string term(const OptionSpec& option) {
  std::string text = option.letter != '\0' ? code(std::string("-") + option.letter) + ", " : "";
  return text + code("--" + std::string(option.name) + value_text(option));
}

void write_commands(std::ostream& out) {
  out << "## Commands\n\n" << paragraph(kPackageDefinition) << '\n';
  for (const CommandSpec& command : command_table()) {
    out << "### `pkgfs " << command.name << " [OPTION]..." << (command.operands.empty() ? "" : " ") << command.operands
        << "`\n\n"
        << paragraph(sentence(command.summary)) << '\n';
    if (!command.description.empty()) {
      out << paragraph(command.description) << '\n';
    }
    for (const std::string& example : lines_of(command.examples)) {
      out << "    " << example << '\n';
    }
    out << (command.examples.empty() ? "" : "\n");
    std::string names;
    for (const OptionSpec* option : options_of(command.id)) {
      add(names, code("--" + std::string(option->name)));
    }
    out << paragraph("Options: " + names + (command.id == CommandId::kMount ? ", `-o`." : ".")) << '\n';
  }
}

void write_options(std::ostream& out) {
  out << "## Options\n\n" << paragraph(kOptions) << '\n';
  for (const OptionGroupSpec& group : option_groups()) {
    out << "### " << group.title << "\n\n" << paragraph(group.text) << '\n';
    for (const OptionSpec& option : option_table()) {
      if (option.group != group.id) {
        continue;
      }
      out << "#### " << term(option) << "\n\n" << paragraph(sentence(option.help)) << '\n';
      std::string commands = "For " + commands_with(option) + ".";
      if (option.mount_word) {
        commands += " In `-o`: " + code(mount_word_of(option) + value_text(option)) + ".";
      }
      out << paragraph(commands) << '\n';
    }
  }
}

void write_mount_words(std::ostream& out) {
  out << "## Words of `-o` that are not options of pkgfs\n\n"
      << paragraph(kMountWords) << "\n| word | what it does |\n| --- | --- |\n";
  std::string ignored;
  for (const MountWord& word : mount_words()) {
    if (word.apply != nullptr) {
      out << "| " << code(word.word) << " | " << cell(word.why) << " |\n";
    } else if (word.ignored()) {
      add(ignored, code(word.word));
    }
  }
  out << '\n'
      << paragraph("pkgfs accepts these and ignores them: " + ignored + ".") << "\npkgfs refuses these:\n\n"
      << "| word | why |\n| --- | --- |\n";
  for (const MountWord& word : mount_words()) {
    if (word.refused) {
      out << "| " << code(word.word) << " | " << cell(word.why)
          << (word.unasked ? "; mount(8) adds the word by itself, and pkgfs ignores it there" : "") << " |\n";
    }
  }
  out << '\n';
}

void write_exit_codes(std::ostream& out) {
  out << "## Exit codes\n\n"
      << paragraph(kExitCodes) << "\n| code | meaning | under mount(8) |\n| ---: | --- | ---: |\n";
  for (const ExitCode& exit : exit_codes()) {
    out << "| " << exit.number << " | " << cell(exit.meaning) << " | " << to_mount_exit_code(exit.number) << " |\n";
  }
}

}  // namespace

void write_reference(std::ostream& out) {
  out << kNote << "\n\n# Reference\n\n" << paragraph(kIntroduction) << '\n';
  write_commands(out);
  write_options(out);
  write_mount_words(out);
  write_exit_codes(out);
}

}  // namespace pkgfs::describe
