// SPDX-License-Identifier: MIT
#include "daemon/cli/help.h"

#include <iomanip>
#include <ostream>
#include <vector>

#include "daemon/cli/exit_code.h"
#include "daemon/cli/options.h"
#include "daemon/cli/suggest.h"

namespace pkgfs {

namespace {

/// A term and its explanation, lines of the latter indented alike.
void print_item(std::ostream& out, const std::string& term, std::string_view text, std::size_t column) {
  out << "  " << std::left << std::setw(static_cast<int>(column)) << term;
  if (term.size() + 2 > column) {
    out << '\n' << std::string(column + 2, ' ');
  }
  for (const char c : text) {
    out << c;
    if (c == '\n') {
      out << std::string(column + 2, ' ');
    }
  }
  out << '\n';
}

constexpr std::size_t kOptionColumn = 30;

std::string option_term(const OptionSpec& option) {
  std::string term = option.letter != '\0' ? std::string("-") + option.letter + ", --" : std::string("    --");
  term += option.name;
  if (!option.argument.empty()) {
    term += "=" + std::string(option.argument);
  }
  return term;
}

/// Words with blanks between, in lines of a width that fits a terminal.
void print_wrapped(std::ostream& out, const std::vector<std::string_view>& words) {
  constexpr std::size_t kWidth = 80;
  std::size_t used = kWidth;
  for (const std::string_view word : words) {
    if (used + 1 + word.size() > kWidth) {
      out << "\n ";
      used = 1;
    }
    out << ' ' << word;
    used += 1 + word.size();
  }
  out << '\n';
}

void print_mount_words(std::ostream& out) {
  out << "\nEvery option without a letter can also be given in -o, without the dashes and with\n"
         "\"_\" for \"-\" (-o commands_dir=/opt/bin,allow_other); so can debug and quiet. A comma in a\n"
         "value is written \"\\,\", or the value is quoted: -o 'lock=\"a,b\"'.\n\n"
         "Accepted in -o and without effect:";
  std::vector<std::string_view> ignored;
  for (const MountWord& word : mount_words()) {
    if (!word.refused) {
      ignored.push_back(word.word);
    }
  }
  print_wrapped(out, ignored);
  out << "Honoured in -o:\n  exec noexec\nRefused in -o:\n";
  for (const MountWord& word : mount_words()) {
    if (word.refused) {
      print_item(out, std::string(word.word), word.why, 12);
    }
  }
  out << "\n\"mount -t pkgfs PACKAGE MOUNTPOINT -o OPTIONS\" and lines of /etc/fstab take the same options; rw, suid\n"
         "and dev, which mount(8) adds by itself, are without effect there (mount.pkgfs(8)).\n";
}

}  // namespace

void print_general_help(std::ostream& out) {
  out << "pkgfs shows Wasmer packages as directories.\n\nusage: pkgfs COMMAND [OPTION]... [ARGUMENT]...\n\n";
  for (const CommandSpec& command : command_table()) {
    print_item(out, std::string(command.name), command.summary, 14);
  }
  print_item(out, "help", "explain a command (pkgfs help COMMAND), or the exit codes (pkgfs help exit-codes)", 14);
  out << "\n  -h, --help     this text, or that of a command\n  -V, --version  the version\n\n"
         "PACKAGE is a .webc file, a directory with a wasmer.toml, a gzip'd tar of one, or a specifier:\n"
         "[namespace/]name[@VERSION], sha256:HASH, a path that begins with \".\" or \"/\".\n";
}

void print_command_help(std::ostream& out, const CommandSpec& command) {
  out << "usage: pkgfs " << command.name << " [OPTION]..." << (command.operands.empty() ? "" : " ") << command.operands
      << "\n\n"
      << command.summary << '\n';
  if (!command.description.empty()) {
    out << '\n' << command.description << '\n';
  }
  out << '\n';
  for (const OptionSpec& option : option_table()) {
    if (takes(option, command.id)) {
      print_item(out, option_term(option), option.help, kOptionColumn);
    }
  }
  if (command.id == CommandId::kMount) {
    print_item(out, "-o OPTION[,OPTION]...", "options as mount(8) gives them", kOptionColumn);
  }
  print_item(out, "-h, --help", "this text", kOptionColumn);
  if (command.id == CommandId::kMount) {
    print_mount_words(out);
  }
}

void print_exit_codes(std::ostream& out) {
  out << "Exit codes of pkgfs:\n\n";
  for (const ExitCode& code : exit_codes()) {
    print_item(out, std::to_string(code.number), code.meaning, 6);
  }
}

void print_help_topic(std::ostream& out, const std::string& topic) {
  if (topic == "exit-codes") {
    print_exit_codes(out);
  } else if (const CommandSpec* command = find_command(topic)) {
    print_command_help(out, *command);
  } else {
    refuse_unknown_command(topic);
  }
}

void refuse_unknown_command(const std::string& name) {
  std::vector<std::string_view> names{"help"};
  for (const CommandSpec& command : command_table()) {
    names.push_back(command.name);
  }
  std::string text = "unknown command \"" + name + "\"";
  if (const auto near = suggest(name, names)) {
    text += "; did you mean \"" + std::string(*near) + "\"?";
  }
  throw Error(ErrorCode::kUsage, text + " (see \"pkgfs help\")");
}

}  // namespace pkgfs
