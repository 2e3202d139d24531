// SPDX-License-Identifier: MIT
#include <algorithm>
#include <ostream>
#include <string>

#include "daemon/cli/command_table.h"
#include "daemon/cli/exit_code.h"
#include "packaging/describe/describe.h"

namespace pkgfs::describe {
namespace {

/// `text` on one line, with everything escaped that scdoc would take for markup.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '_' || c == '*' || c == '\\' || c == '<' || c == '[' || c == ']' || c == '|' || c == '#' || c == '~') {
      result += '\\';
    }
    result += c == '\n' ? ' ' : c;
  }
  return result;
}

std::string bold(std::string_view text) { return "*" + escaped(text) + "*"; }

/// `*-f*, *--foreground*`
std::string term(const OptionSpec& option) {
  std::string text;
  if (option.letter != '\0') {
    text = bold(std::string("-") + option.letter) + ", ";
  }
  text += bold("--" + std::string(option.name));
  if (!option.argument.empty()) {
    text += "=" + escaped(option.argument);
  }
  return text;
}

void write_commands(std::ostream& out) {
  for (const CommandSpec& command : command_table()) {
    out << "*pkgfs " << command.name << "* [OPTION]..." << (command.operands.empty() ? "" : " ")
        << escaped(command.operands) << "\n\t" << escaped(command.summary) << ".\n\n";
    if (!command.description.empty()) {
      out << '\t' << escaped(command.description) << "\n\n";
    }
    std::string names;
    for (const OptionSpec* option : options_of(command.id)) {
      names += (names.empty() ? "" : ", ") + bold("--" + std::string(option->name));
    }
    out << "\tOptions: " << names << (command.id == CommandId::kMount ? ", *-o*" : "") << ".\n\n";
  }
}

void write_options(std::ostream& out) {
  for (const OptionSpec& option : option_table()) {
    out << term(option) << "\n\t" << escaped(option.help) << ".\n\n\tFor " << escaped(commands_with(option)) << ".\n\n";
  }
}

void write_mount_options(std::ostream& out) {
  for (const OptionSpec* option : options_of(CommandId::kMount)) {
    if (option->mount_word) {
      std::string name(option->name);
      std::ranges::replace(name, '-', '_');
      out << bold(name) << (option->argument.empty() ? "" : "=") << escaped(option->argument) << "\n\t"
          << escaped(option->help) << ".\n\n";
    }
  }
}

void write_mount_words(std::ostream& out) {
  std::string ignored;
  for (const MountWord& word : mount_words()) {
    if (!word.refused) {
      ignored += (ignored.empty() ? "" : ", ") + bold(word.word);
    }
  }
  out << "pkgfs accepts these words and ignores them: " << ignored << ".\n\n";
  for (const MountWord& word : mount_words()) {
    if (word.refused) {
      out << bold(word.word) << "\n\t"
          << (word.unasked ? "Refused by *pkgfs mount*; ignored from mount(8), which adds the word by itself: "
                           : "Refused: ")
          << escaped(word.why) << ".\n\n";
    }
  }
}

void write_exit_codes(std::ostream& out) {
  for (const ExitCode& code : exit_codes()) {
    out << '*' << code.number << "*\n\t" << escaped(code.meaning) << ".\n\n";
  }
}

}  // namespace

void write_page(std::ostream& out, std::string_view source) {
  while (!source.empty()) {
    const std::size_t end = std::min(source.find('\n'), source.size());
    std::string line(source.substr(0, end));
    source.remove_prefix(std::min(end + 1, source.size()));
    if (line == "@commands@") {
      write_commands(out);
    } else if (line == "@options@") {
      write_options(out);
    } else if (line == "@mount_options@") {
      write_mount_options(out);
    } else if (line == "@mount_words@") {
      write_mount_words(out);
    } else if (line == "@exit_codes@") {
      write_exit_codes(out);
    } else {
      constexpr std::string_view kVersion = "@version@";
      if (const std::size_t at = line.find(kVersion); at != std::string::npos) {
        line.replace(at, kVersion.size(), PKGFS_VERSION);
      }
      out << line << '\n';
    }
  }
}

}  // namespace pkgfs::describe
