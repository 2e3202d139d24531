// SPDX-License-Identifier: MIT
#include <algorithm>
#include <ostream>
#include <string>
#include <utility>

#include "daemon/cli/command_table.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/mount_words.h"
#include "daemon/cli/text_output.h"
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
  return text + escaped(value_text(option));
}

void write_commands(std::ostream& out) {
  for (const CommandSpec& command : command_table()) {
    out << "*pkgfs " << command.name << "* [OPTION]..." << (command.operands.empty() ? "" : " ")
        << escaped(command.operands) << "\n\t" << escaped(sentence(command.summary)) << "\n\n";
    if (!command.description.empty()) {
      out << '\t' << escaped(command.description) << "\n\n";
    }
    for (const std::string& example : lines_of(command.examples)) {
      out << "\tExample: " << bold(example) << "\n\n";
    }
    std::string names;
    for (const OptionSpec* option : options_of(command.id)) {
      names += (names.empty() ? "" : ", ") + bold("--" + std::string(option->name));
    }
    out << "\tOptions: " << names << (command.id == CommandId::kMount ? ", *-o*" : "") << ".\n\n";
  }
}

void write_heading(std::ostream& out, const OptionGroupSpec& group) {
  out << "## " << escaped(group.title) << "\n\n" << escaped(group.text) << "\n\n";
}

void write_options(std::ostream& out) {
  for (const OptionGroupSpec& group : option_groups()) {
    write_heading(out, group);
    for (const OptionSpec& option : option_table()) {
      if (option.group == group.id) {
        out << term(option) << "\n\t" << escaped(sentence(option.help)) << "\n\n\tFor "
            << escaped(commands_with(option)) << ".\n\n";
      }
    }
  }
  out << "## Mount options\n\n";
}

void write_mount_options(std::ostream& out) {
  for (const OptionGroupSpec& group : option_groups()) {
    bool begun = false;
    for (const OptionSpec* option : options_of(CommandId::kMount)) {
      if (option->group != group.id || !option->mount_word) {
        continue;
      }
      if (!std::exchange(begun, true)) {
        write_heading(out, group);
      }
      out << bold(mount_word_of(*option)) << escaped(value_text(*option)) << "\n\t" << escaped(sentence(option->help))
          << "\n\n";
    }
  }
  out << "## Other words\n\n";
}

void write_mount_words(std::ostream& out) {
  std::string ignored;
  for (const MountWord& word : mount_words()) {
    if (word.apply != nullptr) {
      out << bold(word.word) << "\n\t" << escaped(sentence(word.why)) << "\n\n";
    } else if (word.ignored()) {
      ignored += (ignored.empty() ? "" : ", ") + bold(word.word);
    }
  }
  out << "pkgfs accepts these words and ignores them: " << ignored << ".\n\n";
  for (const MountWord& word : mount_words()) {
    if (word.refused) {
      out << bold(word.word) << "\n\t"
          << (word.unasked ? "Refused by *pkgfs mount*; ignored from mount(8), which adds the word by itself: "
                           : "Refused: ")
          << escaped(sentence(word.why)) << "\n\n";
    }
  }
}

void write_exit_codes(std::ostream& out) {
  for (const ExitCode& code : exit_codes()) {
    out << '*' << code.number << "*\n\t" << escaped(sentence(code.meaning)) << "\n\n";
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
