// SPDX-License-Identifier: MIT
#include <map>
#include <ostream>
#include <string>

#include "daemon/cli/command_table.h"
#include "packaging/describe/describe.h"

namespace pkgfs::describe {
namespace {

constexpr std::string_view kCacheWords = "list verify prune path";

/// `text` in single quotes, as one word of a shell.
std::string quoted(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return result + "'";
}

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const CommandSpec& command : command_table()) {
    names.emplace_back(command.name);
  }
  return names;
}

/// All flags of a command: `--registry=`, `--offline`, `-f`.
std::vector<std::string> flags_of(CommandId command) {
  std::vector<std::string> flags{"--help"};
  for (const OptionSpec* option : options_of(command)) {
    flags.push_back("--" + std::string(option->name) + (option->argument.empty() || option->optional ? "" : "="));
    if (option->letter != '\0') {
      flags.push_back(std::string("-") + option->letter);
    }
  }
  if (command == CommandId::kMount) {
    flags.emplace_back("-o");
  }
  return flags;
}

constexpr std::string_view kBashStart = R"(# pkgfs(1) for bash; written from the program's own tables.
_pkgfs() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} option='' command='' operands=0 i
  COMPREPLY=()
  # bash splits at "=".
  if [[ $cur == '=' ]]; then
    option=$prev cur=''
  elif [[ $prev == '=' && $COMP_CWORD -gt 1 ]]; then
    option=${COMP_WORDS[COMP_CWORD - 2]}
  elif [[ $prev == -* ]]; then
    option=$prev
  fi
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case ${COMP_WORDS[i]} in
      -* | =) ;;
      *)
        if [[ -z $command ]]; then
          command=${COMP_WORDS[i]}
        elif [[ ${COMP_WORDS[i - 1]} != '=' && ${COMP_WORDS[i - 1]} != -o ]]; then
          operands=$((operands + 1))
        fi
        ;;
    esac
  done
)";

constexpr std::string_view kBashOperands = R"(  case $command:$operands in
    unmount:0 | wait:0) flags=$(awk '$3 == "fuse.pkgfs" { print $2 }' /proc/self/mounts) ;;
    mount:1) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
    cache:0) flags='@cache@' ;;
    *) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
}
complete -F _pkgfs pkgfs
)";

std::string bash_values(const Values& values) {
  if (!values.words.empty()) {
    return "mapfile -t COMPREPLY < <(compgen -W '" + joined(values.words) + "' -- \"$cur\")";
  }
  if (values.files || values.directories) {
    return std::string("compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen ") +
           (values.files ? "-f" : "-d") + " -- \"$cur\")";
  }
  return ":";
}

/// Escapes the characters that zsh's `_arguments` would interpret: "[", "]", ":" and "\".
std::string for_zsh(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') {
      result += '\\';
    }
    result += c;
  }
  return result;
}

std::string zsh_action(const Values& values) {
  if (!values.words.empty()) {
    return "(" + joined(values.words) + ")";
  }
  return values.files ? "_files" : values.directories ? "_files -/" : "";
}

std::string zsh_operands(CommandId command) {
  switch (command) {
    case CommandId::kMount:
      return "'1:package:_files' '2:mountpoint:_files -/'";
    case CommandId::kUnmount:
    case CommandId::kWait:
      return R"('1:mountpoint:_pkgfs_mounts')";
    case CommandId::kUpgradeMounts:
      return R"('*:mountpoint:_pkgfs_mounts')";
    case CommandId::kCache:
      return "'1:what:(" + std::string(kCacheWords) + ")'";
    case CommandId::kExport:
      return "'1:package:_files' '2:file:_files'";
    case CommandId::kExtract:
      return "'1:package:_files' '2:directory:_files -/'";
    default:
      return command_spec(command).operands.empty() ? "" : "'*:package:_files'";
  }
}

}  // namespace

void write_bash(std::ostream& out) {
  out << kBashStart << "  local commands='" << joined(command_names()) << " help'\n"
      << "  if [[ -z $command ]]; then\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$commands --help --version\" -- \"$cur\")\n    return\n  fi\n"
         "  case $option in\n";
  std::map<std::string, std::string> values;  // by name; options that share a name take the same values
  for (const OptionSpec& option : option_table()) {
    if (!option.argument.empty() && !option.optional) {
      values["--" + std::string(option.name)] = bash_values(values_of(option));
    }
  }
  for (const auto& [name, action] : values) {
    out << "    " << name << ") " << action << "; return ;;\n";
  }
  std::string words = joined(words_of_mount());
  out << "    -o)\n      compopt -o nospace 2>/dev/null\n"
         "      local before=''\n      [[ $cur == *,* ]] && before=${cur%,*},\n"
         "      mapfile -t COMPREPLY < <(compgen -P \"$before\" -W '"
      << words << "' -- \"${cur##*,}\")\n      return\n      ;;\n  esac\n"
      << "  local flags=''\n  case $command in\n";
  for (const CommandSpec& command : command_table()) {
    out << "    " << command.name << (command.id == CommandId::kUnmount ? " | umount) command=unmount" : ")")
        << " flags='" << joined(flags_of(command.id)) << "' ;;\n";
  }
  out << "    help) mapfile -t COMPREPLY < <(compgen -W \"$commands exit-codes\" -- \"$cur\"); return ;;\n  esac\n"
         "  if [[ $cur == -* ]]; then\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$flags\" -- \"$cur\")\n"
         "    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null\n"
         "    return\n  fi\n";
  std::string operands(kBashOperands);
  constexpr std::string_view kMark = "@cache@";
  operands.replace(operands.find(kMark), kMark.size(), kCacheWords);
  out << operands;
}

void write_zsh(std::ostream& out) {
  out << "#compdef pkgfs\n# pkgfs(1) for zsh; written from the program's own tables.\n"
         "_pkgfs_mounts() {\n  local -a points\n"
         "  points=(${(f)\"$(awk '$3 == \"fuse.pkgfs\" { print $2 }' /proc/self/mounts)\"})\n"
         "  compadd -a points\n}\n"
         "_pkgfs() {\n  local -a commands\n  commands=(\n";
  for (const CommandSpec& command : command_table()) {
    out << "    " << quoted(std::string(command.name) + ":" + for_zsh(command.summary)) << '\n';
  }
  out << "    'help:explain a command'\n  )\n"
         "  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n"
         "  local command=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $command in\n";
  for (const CommandSpec& command : command_table()) {
    out << "    " << command.name << (command.id == CommandId::kUnmount ? "|umount" : "")
        << ")\n      _arguments -s -S";
    for (const OptionSpec* option : options_of(command.id)) {
      const std::string flag = "--" + std::string(option->name);
      const std::string help = "[" + for_zsh(short_help(*option)) + "]";
      if (option->argument.empty()) {
        out << " \\\n        " << quoted(flag + help);
      } else {
        out << " \\\n        "
            << quoted("*" + flag + (option->optional ? "=-" : "=") + help + (option->optional ? "::" : ":") +
                      for_zsh(option->argument) + ":" + zsh_action(values_of(*option)));
      }
      if (option->letter != '\0') {
        out << " \\\n        " << quoted(std::string("-") + option->letter + help);
      }
    }
    if (command.id == CommandId::kMount) {
      out << " \\\n        " << quoted("*-o[options as mount(8) gives them]:options:_values -s , option " + [] {
        std::string words;
        for (std::string word : words_of_mount()) {
          if (word.ends_with('=')) {
            word.pop_back();
            word += "\\:value";
          }
          words += (words.empty() ? "" : " ") + word;
        }
        return words;
      }());
    }
    out << " \\\n        '(- *)--help[explain the command]'";
    if (const std::string operands = zsh_operands(command.id); !operands.empty()) {
      out << " \\\n        " << operands;
    }
    out << "\n      ;;\n";
  }
  out << "    help) _describe command commands ;;\n  esac\n}\n_pkgfs \"$@\"\n";
}

void write_fish(std::ostream& out) {
  out << "# pkgfs(1) for fish; written from the program's own tables.\n"
         "set -l commands "
      << joined(command_names()) << " umount help\n"
      << "complete -c pkgfs -n \"not __fish_seen_subcommand_from $commands\" -f -s h -l help -d 'Show help'\n"
         "complete -c pkgfs -n \"not __fish_seen_subcommand_from $commands\" -f -s V -l version -d 'Show the "
         "version'\n";
  for (const CommandSpec& command : command_table()) {
    out << "complete -c pkgfs -n \"not __fish_seen_subcommand_from $commands\" -f -a " << command.name << " -d "
        << quoted(command.summary) << '\n';
  }
  out << "complete -c pkgfs -n \"not __fish_seen_subcommand_from $commands\" -f -a help -d 'explain a command'\n"
         "complete -c pkgfs -n '__fish_seen_subcommand_from help' -f -a \"$commands exit-codes\"\n"
         "complete -c pkgfs -n '__fish_seen_subcommand_from cache' -f -a '"
      << kCacheWords
      << "'\n"
         "complete -c pkgfs -n '__fish_seen_subcommand_from unmount umount wait' -f -a "
         "\"(awk '\\$3 == \\\"fuse.pkgfs\\\" { print \\$2 }' /proc/self/mounts)\"\n";
  for (const CommandSpec& command : command_table()) {
    const std::string where = "complete -c pkgfs -n '__fish_seen_subcommand_from " + std::string(command.name) +
                              (command.id == CommandId::kUnmount ? " umount" : "") + "'";
    for (const OptionSpec* option : options_of(command.id)) {
      out << where;
      if (option->letter != '\0') {
        out << " -s " << option->letter;
      }
      out << " -l " << option->name;
      if (!option->argument.empty() && !option->optional) {
        const Values values = values_of(*option);
        out << (values.files || values.directories ? " -r" : " -x");
        if (!values.words.empty()) {
          out << " -a '" << joined(values.words) << "'";
        }
      }
      out << " -d " << quoted(short_help(*option)) << '\n';
    }
    if (command.id == CommandId::kMount) {
      out << where << " -s o -x -a " << quoted(joined(words_of_mount())) << " -d 'options as mount(8) gives them'\n";
    }
  }
}

}  // namespace pkgfs::describe
