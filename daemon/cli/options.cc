// SPDX-License-Identifier: MIT
#include "daemon/cli/options.h"

#include <unistd.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <string_view>
#include <utility>

#include "daemon/cli/mount_words.h"
#include "daemon/cli/option_table.h"
#include "daemon/cli/suggest.h"

// Boost.Program_options splits the command line: `-ofoo`, `-qz`, `--name value`, `--name=value`, `--`, operands
// anywhere, unknown options collected instead of thrown. Its other features would be a second source of the same facts:
// - typed values: `-o`, the volume plugin and fstab pass options that never come through it, and all of them give the
//   same error messages (option_values.h);
// - groups and help: manual pages, docs/REFERENCE.md and completions need the texts of the option table as well;
// - configuration files: pkgfs reads Wasmer's own, which is TOML (settings.h).
namespace po = boost::program_options;

namespace pkgfs {

namespace {

/// An option of the command line with its value.
struct Given {
  const OptionSpec* option;
  std::string value;
};

/// An option that the command doesn't have.
struct Unknown {
  std::string name;         // as given, with its dashes
  bool mount_word = false;  // from `-o`
};

/// The parts of a command line. No value has been checked yet.
struct Findings {
  std::vector<Given> given;
  std::vector<std::string> operands;
  std::vector<Unknown> unknown;
  std::vector<std::pair<const MountWord*, std::string>> words;  // those with an effect, as given
  bool read_only = false;                                       // `ro` was given
};

const OptionSpec* find_option(CommandId command, std::string_view name) {
  const auto table = option_table();
  const auto found =
      std::ranges::find_if(table, [&](const OptionSpec& o) { return o.name == name && takes(o, command); });
  return found == table.end() ? nullptr : &*found;
}

void read_mount_word(CommandId command, const std::string& item, const MountWordRules& rules, Findings& findings) {
  findings.read_only |= item == "ro";
  const std::size_t equals = item.find('=');
  if (const MountWord* word = find_mount_word(item)) {
    if (word->refused && !(word->unasked && rules.from_mount)) {
      // Without its value, which may be a secret.
      throw Error(ErrorCode::kUsage,
                  "mount option '" + item.substr(0, equals) + "' is refused: " + std::string(word->why));
    }
    if (word->apply != nullptr) {
      findings.words.emplace_back(word, item);
    }
    return;
  }
  std::string name = item.substr(0, equals);
  std::ranges::replace(name, '_', '-');
  const OptionSpec* option = find_option(command, name);
  if (option == nullptr || !option->mount_word) {
    if (!rules.sloppy) {
      findings.unknown.push_back({item.substr(0, equals), true});
    }
    return;
  }
  const bool has_value = equals != std::string::npos;
  if (has_value ? option->argument.empty() : !option->argument.empty() && !option->optional) {
    throw Error(ErrorCode::kUsage,
                "mount option '" + item.substr(0, equals) + "' " + (has_value ? "takes no value" : "needs a value"));
  }
  findings.given.push_back({option, has_value ? item.substr(equals + 1) : std::string(implied_value(*option))});
}

/// `args` with the implied values written out. Boost's own implicit values would take the argument that follows.
std::vector<std::string> with_implied_values(CommandId command, std::vector<std::string> args) {
  const auto end = std::ranges::find(args, "--");
  for (auto arg = args.begin(); arg != end; ++arg) {
    const OptionSpec* option =
        arg->starts_with("--") ? find_option(command, std::string_view(*arg).substr(2)) : nullptr;
    if (option != nullptr && option->optional) {
      *arg += "=" + std::string(implied_value(*option));
    }
  }
  return args;
}

po::options_description describe(CommandId command) {
  po::options_description description;
  for (const OptionSpec& option : option_table()) {
    if (!takes(option, command)) {
      continue;
    }
    std::string names(option.name);
    if (option.letter != '\0') {
      names += std::string(",") + option.letter;
    }
    if (option.argument.empty()) {
      description.add_options()(names.c_str(), "");
    } else {
      description.add_options()(names.c_str(), po::value<std::string>(), "");
    }
  }
  if (command == CommandId::kMount || command == CommandId::kServe) {
    description.add_options()("options,o", po::value<std::string>(), "");
  }
  return description;
}

Findings read_arguments(CommandId command, const std::vector<std::string>& args, const MountWordRules& rules) {
  const po::options_description description = describe(command);
  Findings findings;
  try {
    namespace style = po::command_line_style;
    const auto parsed = po::command_line_parser(with_implied_values(command, args))
                            .options(description)
                            .style(style::unix_style & ~style::allow_guessing)
                            .allow_unregistered()
                            .run();
    for (const auto& option : parsed.options) {
      if (option.position_key >= 0) {
        findings.operands.insert(findings.operands.end(), option.value.begin(), option.value.end());
      } else if (option.unregistered) {
        const std::string& token = option.original_tokens.front();
        findings.unknown.push_back({token.substr(0, token.find('=')), false});
      } else if (option.string_key == "options") {
        for (const std::string& item : split_mount_words(option.value.front())) {
          read_mount_word(command, item, rules, findings);
        }
      } else {
        findings.given.push_back(
            {find_option(command, option.string_key), option.value.empty() ? std::string() : option.value.front()});
      }
    }
  } catch (const po::error& error) {
    throw Error(ErrorCode::kUsage, error.what());
  }
  return findings;
}

/// The names that may have been meant by `wrong`. `-o` doesn't take every option, and takes other words.
std::vector<std::string_view> known_names(CommandId command, const Unknown& wrong) {
  std::vector<std::string_view> names;
  for (const OptionSpec& option : option_table()) {
    if (takes(option, command) && (option.mount_word || !wrong.mount_word)) {
      names.push_back(option.name);
    }
  }
  for (const MountWord& word : mount_words()) {
    if (wrong.mount_word && !word.refused && !word.word.ends_with('*') && !word.word.ends_with('=')) {
      names.push_back(word.word);
    }
  }
  return names;
}

[[noreturn]] void refuse_unknown(CommandId command, const std::vector<Unknown>& unknown) {
  std::string text = "unknown ";
  for (std::size_t i = 0; i < unknown.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::string(unknown[i].mount_word ? "mount option '" : "option '") +
            unknown[i].name + "'";
  }
  std::string wrong = unknown.front().name;
  wrong.erase(0, std::min(wrong.find_first_not_of('-'), wrong.size()));
  std::ranges::replace(wrong, '_', '-');
  if (const auto near = suggest(wrong, known_names(command, unknown.front()))) {
    std::string meant(*near);
    if (unknown.front().mount_word) {
      std::ranges::replace(meant, '-', '_');
    } else {
      meant.insert(0, "--");
    }
    text += "; did you mean '" + meant + "'?";
  }
  throw Error(ErrorCode::kUsage, text + " (see \"pkgfs help " + std::string(command_spec(command).name) + "\")");
}

void count_operands(CommandId command, const std::vector<std::string>& operands, std::size_t minimum,
                    std::size_t maximum) {
  const CommandSpec& spec = command_spec(command);
  if (operands.size() < minimum) {
    throw Error(ErrorCode::kUsage, "an argument is missing; usage: pkgfs " + std::string(spec.name) + " [OPTION]... " +
                                       std::string(spec.operands));
  }
  if (operands.size() > maximum) {
    throw Error(ErrorCode::kUsage, "unexpected argument \"" + operands[maximum] + "\" (see \"pkgfs help " +
                                       std::string(spec.name) + "\")");
  }
}

/// What was given besides `remount` and would have an effect on a new mount.
std::vector<std::string> words_with_effect(const Findings& findings) {
  std::vector<std::string> words;
  words.reserve(findings.words.size() + findings.given.size());
  for (const auto& [word, item] : findings.words) {
    words.push_back(item);
  }
  for (const Given& given : findings.given) {
    if (given.option->group != OptionGroup::kOutput) {
      std::string word(given.option->name);
      std::ranges::replace(word, '-', '_');
      words.push_back(given.option->argument.empty() ? word : word + "=" + given.value);
    }
  }
  std::erase(words, "remount");
  return words;
}

Options parse(CommandId command, const std::vector<std::string>& args, const MountWordRules& rules, std::size_t minimum,
              std::size_t maximum) {
  Findings findings = read_arguments(command, args, rules);
  if (!findings.unknown.empty()) {
    refuse_unknown(command, findings.unknown);
  }
  Options options;
  for (const auto& [word, item] : findings.words) {
    word->apply(options.mount, item);
  }
  for (const Given& given : findings.given) {
    given.option->apply(options, given.value);
  }
  if (options.mount.remount && !findings.read_only) {
    throw Error(ErrorCode::kUsage,
                "mount option 'remount' is refused: a mount can't be changed: unmount it and mount it again");
  }
  if (options.mount.remount) {
    options.mount.unchanged = words_with_effect(findings);
  }
  if (options.mount.allow_root && options.mount.uid && *options.mount.uid != ::geteuid()) {
    throw Error(ErrorCode::kUsage,
                "option 'allow-root' shows the mount to you and to root only, so 'uid' can't be another user");
  }
  options.operands = std::move(findings.operands);
  count_operands(command, options.operands, minimum, maximum);
  return options;
}

}  // namespace

Options parse_options(CommandId command, const std::vector<std::string>& args, std::size_t minimum,
                      std::size_t maximum) {
  return parse(command, args, {}, minimum, maximum);
}

namespace {

MountOptions to_mount_options(Options options, const std::vector<std::string>& args, const MountWordRules& rules) {
  MountOptions mount;
  static_cast<MountFlags&>(mount) = options.mount;
  std::error_code failed;
  mount.arguments = {
      .words = args, .rules = rules, .working_directory = std::filesystem::current_path(failed).string()};
  mount.mountpoint = std::move(options.operands.back());
  mount.tree = std::move(options.tree);
  mount.log = std::move(options.log);
  return mount;
}

}  // namespace

MountOptions parse_mount_options(const std::vector<std::string>& args, const MountWordRules& rules) {
  Options options = parse(CommandId::kMount, args, rules, 2, 2);
  std::string package = std::move(options.operands.front());
  MountOptions mount = to_mount_options(std::move(options), args, rules);
  mount.package = std::move(package);
  return mount;
}

MountOptions parse_serve_options(const std::vector<std::string>& args, const MountWordRules& rules) {
  constexpr auto kUsualIdle = std::chrono::minutes(15);
  MountOptions mount = to_mount_options(parse(CommandId::kServe, args, rules, 1, 1), args, rules);
  mount.idle = mount.idle.value_or(kUsualIdle);
  return mount;
}

}  // namespace pkgfs
