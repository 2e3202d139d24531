// SPDX-License-Identifier: MIT
#include "daemon/cli/help.h"

#include <algorithm>
#include <iomanip>
#include <ostream>
#include <vector>

#include "daemon/cli/exit_code.h"
#include "daemon/cli/mount_words.h"
#include "daemon/cli/option_table.h"
#include "daemon/cli/suggest.h"
#include "daemon/cli/text_output.h"

namespace pkgfs {

namespace {

constexpr std::size_t kWidth = 80;          // columns of a line of help
constexpr std::size_t kOptionColumn = 26;   // where the explanation of an option begins
constexpr std::size_t kCommandColumn = 17;  // and that of a command
constexpr std::size_t kMostUngrouped = 12;  // more options than this get headings

void print_paragraph(std::ostream& out, std::string_view text) { out << wrapped(text, kWidth) << "\n\n"; }

/// A term and its explanation, whose lines begin at `column`.
void print_item(std::ostream& out, const std::string& term, std::string_view text, std::size_t column) {
  out << "  " << std::left << std::setw(static_cast<int>(column - 2)) << term;
  if (term.size() + 3 > column) {
    out << '\n' << std::string(column, ' ');
  }
  out << wrapped(text, kWidth, column) << '\n';
}

/// Command lines, one on a line.
void print_examples(std::ostream& out, std::string_view examples) {
  out << "  " << wrapped(examples, std::string_view::npos, 2) << "\n\n";
}

std::string option_term(const OptionSpec& option) {
  std::string term = option.letter != '\0' ? std::string("-") + option.letter + ", --" : std::string("    --");
  term += option.name;
  return term + value_text(option);
}

void print_options(std::ostream& out, const std::vector<const OptionSpec*>& options) {
  for (const OptionSpec* option : options) {
    print_item(out, option_term(*option), sentence(option->help), kOptionColumn);
  }
}

void print_option_groups(std::ostream& out, CommandId command) {
  const auto taken = [command](const OptionSpec& option) { return takes(option, command); };
  const bool grouped = static_cast<std::size_t>(std::ranges::count_if(option_table(), taken)) > kMostUngrouped;
  if (!grouped) {
    out << "Options:\n";
  }
  for (const OptionGroupSpec& group : option_groups()) {
    std::vector<const OptionSpec*> options;
    for (const OptionSpec& option : option_table()) {
      if (option.group == group.id && taken(option)) {
        options.push_back(&option);
      }
    }
    if (grouped && !options.empty()) {
      out << wrapped(std::string(group.title) + ": " + std::string(group.text), kWidth) << '\n';
    }
    print_options(out, options);
    out << (grouped && !options.empty() ? "\n" : "");
  }
  if (grouped) {
    out << "For every command:\n";
  }
  print_item(out, "-h, --help", "Show this help.", kOptionColumn);
}

/// The names of the words for which `condition` holds, as in "a, b and c".
template <typename Condition>
std::string enumerated(Condition condition) {
  std::vector<std::string> names;
  for (const MountWord& word : mount_words()) {
    if (condition(word)) {
      names.emplace_back(word.word.substr(0, word.word.find('=')));
    }
  }
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + names[i];
  }
  return text;
}

bool names_option(const MountWord& word) {
  return word.refused && std::ranges::any_of(option_table(), [&](const OptionSpec& option) {
           return takes(option, CommandId::kMount) && option.name == word.word.substr(0, word.word.find('='));
         });
}

void print_mount_words(std::ostream& out) {
  out << "\nMount options:\n";
  print_item(out, "-o OPTION[,OPTION]...", "Give options in the form of mount(8).", kOptionColumn);
  out << '\n';
  print_paragraph(out,
                  "-o takes every option above but " + enumerated(names_option) +
                      ": without the dashes, and with \"_\" for \"-\". A comma in a value is written \"\\,\", or the "
                      "value is quoted.");
  print_examples(out,
                 "pkgfs mount -o commands_dir=/opt/bin,allow_other ./app.webc /mnt/app\n"
                 "pkgfs mount -o 'lock=\"a,b.lock\"' ./app.webc /mnt/app");
  print_paragraph(out,
                  "Lines of /etc/fstab and \"mount -t pkgfs PACKAGE MOUNTPOINT -o OPTIONS\" take the same options. "
                  "There pkgfs ignores " +
                      enumerated([](const MountWord& word) { return word.unasked; }) +
                      ", which mount(8) adds by itself. See mount.pkgfs(8).");
  std::string ignored = "pkgfs ignores these words in -o:";
  for (const MountWord& word : mount_words()) {
    ignored += word.ignored() ? " " + std::string(word.word) : "";
  }
  print_paragraph(out, ignored);
  out << "pkgfs honours these words in -o:\n";
  for (const MountWord& word : mount_words()) {
    if (word.apply != nullptr) {
      print_item(out, std::string(word.word), sentence(word.why), kCommandColumn);
    }
  }
  out << '\n';
  out << "pkgfs refuses these words in -o:\n";
  for (const MountWord& word : mount_words()) {
    if (word.refused) {
      print_item(out, std::string(word.word), sentence(word.why), kCommandColumn);
    }
  }
}

}  // namespace

void print_general_help(std::ostream& out) {
  print_paragraph(out, "pkgfs mounts Wasmer packages, merged with their dependencies, as directories.");
  out << "usage: pkgfs COMMAND [OPTION]... [ARGUMENT]...\n\nExamples:\n";
  print_examples(out, "pkgfs mount python/python@^3 /mnt/python\npkgfs unmount /mnt/python");
  out << "Commands:\n";
  for (const CommandSpec& command : command_table()) {
    print_item(out, std::string(command.name), sentence(command.summary), kCommandColumn);
  }
  print_item(out, "help", "Explain a command (pkgfs help COMMAND) or the exit codes (pkgfs help exit-codes).",
             kCommandColumn);
  print_item(out, "version", "Show the version, as --version does.", kCommandColumn);
  out << "\nOptions:\n";
  print_item(out, "-h, --help", "Show this help, or the help of a command.", kCommandColumn);
  print_item(out, "-V, --version", "Show the version.", kCommandColumn);
  out << '\n' << wrapped(kPackageDefinition, kWidth) << '\n';
}

void print_command_help(std::ostream& out, const CommandSpec& command) {
  out << "usage: pkgfs " << command.name << " [OPTION]..." << (command.operands.empty() ? "" : " ") << command.operands
      << "\n\n";
  print_paragraph(out, sentence(command.summary));
  if (command.operands.starts_with("PACKAGE")) {
    print_paragraph(out, kPackageDefinition);
  }
  if (!command.description.empty()) {
    print_paragraph(out, command.description);
  }
  if (!command.examples.empty()) {
    out << "Examples:\n";
    print_examples(out, command.examples);
  }
  print_option_groups(out, command.id);
  if (command.id == CommandId::kMount) {
    print_mount_words(out);
  }
}

void print_exit_codes(std::ostream& out) {
  out << "Exit codes of pkgfs:\n\n";
  for (const ExitCode& code : exit_codes()) {
    print_item(out, std::to_string(code.number), sentence(code.meaning), 8);
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
  std::vector<std::string_view> names{"help", "version"};
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
