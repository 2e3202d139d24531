// SPDX-License-Identifier: MIT
#include <algorithm>

#include "daemon/cli/command_table.h"
#include "daemon/cli/mount_words.h"
#include "daemon/cli/text_output.h"
#include "packaging/describe/describe.h"

namespace pkgfs::describe {

Values values_of(const OptionSpec& option) {
  Values values;
  if (option.argument == "LEVEL") {
    values.words = {"error", "warning", "info", "debug", "trace"};
    return values;
  }
  std::string_view rest = option.argument;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('|'), rest.size());
    const std::string_view one = rest.substr(0, end);
    if (one == "DIR") {
      values.directories = true;
    } else if (one == "FILE") {
      values.files = true;
    } else if (one.front() >= 'a' && one.front() <= 'z') {
      values.words.emplace_back(one);
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return values;
}

std::vector<const OptionSpec*> options_of(CommandId command) {
  std::vector<const OptionSpec*> options;
  for (const OptionSpec& option : option_table()) {
    if (takes(option, command)) {
      options.push_back(&option);
    }
  }
  return options;
}

std::string commands_with(const OptionSpec& option) {
  std::string names;
  for (const CommandSpec& command : command_table()) {
    if (takes(option, command.id)) {
      names += (names.empty() ? "" : ", ") + std::string(command.name);
    }
  }
  const bool all = std::ranges::all_of(command_table(), [&](const auto& c) { return takes(option, c.id); });
  return all ? "every command" : names;
}

std::string mount_word_of(const OptionSpec& option) {
  std::string word(option.name);
  std::ranges::replace(word, '-', '_');
  return word;
}

std::vector<std::string> words_of_mount() {
  std::vector<std::string> words;
  for (const OptionSpec* option : options_of(CommandId::kMount)) {
    if (option->mount_word) {
      words.push_back(mount_word_of(*option) + (option->argument.empty() || option->optional ? "" : "="));
    }
  }
  for (const MountWord& word : mount_words()) {
    if (!word.refused && !word.word.ends_with('*')) {
      words.emplace_back(word.word);
    }
  }
  return words;
}

std::string short_help(const OptionSpec& option) {
  std::string text(option.help);
  std::ranges::replace(text, '\n', ' ');
  const bool explains_word = sentence(text).front() == text.front();  // "auto (default): ..."
  for (const std::string_view end : {"; ", ". ", " (", ": "}) {
    if (!explains_word || end == "; " || end == ". ") {
      text = text.substr(0, text.find(end));
    }
  }
  return text;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    text += (text.empty() ? "" : " ") + name;
  }
  return text;
}

}  // namespace pkgfs::describe
