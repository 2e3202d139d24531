// SPDX-License-Identifier: MIT
#include "daemon/volumes/volume_options.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "core/base/error.h"
#include "core/package/package_specifier.h"
#include "daemon/cli/mount_words.h"
#include "daemon/cli/option_table.h"
#include "daemon/cli/options.h"
#include "daemon/mount/writable_mount.h"

namespace pkgfs {
namespace {

constexpr std::size_t kLongestName = 255;
constexpr std::string_view kWritable = "writable";
constexpr std::string_view kDiscard = "discard";

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

const OptionSpec* find_option(const std::string& key, CommandId command) {
  std::string name = key;
  std::ranges::replace(name, '_', '-');
  for (const OptionSpec& option : option_table()) {
    if (option.name == name && option.mount_word && takes(option, command)) {
      return &option;
    }
  }
  return nullptr;
}

/// Whether a switch is on. An engine always passes a value, even if it is empty.
bool parse_switch(const std::string& key, const std::string& value) {
  constexpr std::array<std::string_view, 4> kOn{"", "true", "yes", "1"};
  constexpr std::array<std::string_view, 3> kOff{"false", "no", "0"};
  if (std::ranges::find(kOn, value) != kOn.end()) {
    return true;
  }
  if (std::ranges::find(kOff, value) == kOff.end()) {
    throw Error(ErrorCode::kUsage, "option '" + key + "': \"" + value + "\" isn't true or false");
  }
  return false;
}

void add_words(const std::string& key, const std::string& value, std::vector<std::string>& words) {
  if (key == "o") {
    std::ranges::move(split_mount_words(value), std::back_inserter(words));
    return;
  }
  const OptionSpec* option = find_option(key, CommandId::kMount);
  if (option != nullptr && option->name == kWritable && (value == kDiscard || value.find('/') != std::string::npos)) {
    words.push_back(key + "=" + value);
    return;
  }
  const bool is_switch = option != nullptr
                             ? option->argument.empty() || option->optional
                             : std::ranges::find(mount_words(), key, &MountWord::word) != mount_words().end();
  if (is_switch) {
    if (parse_switch(key, value)) {
      words.push_back(key);
    } else if (option != nullptr && option->optional && option->name != kWritable && value == "no") {
      words.push_back(key + "=no");  // not the same as leaving the option out
    }
    return;
  }
  // With an empty value, the parser refuses the word, or the option that needs a value.
  words.push_back(value.empty() ? key : key + "=" + value);
}

/// The words as one argument of -o, escaped.
std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += text.empty() ? "" : ",";
    for (const char c : word) {
      text += c == ',' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    }
  }
  return text;
}

void refuse_relative(const std::string& option, const std::string& path) {
  if (!path.starts_with('/')) {
    throw Error(ErrorCode::kUsage, "option '" + option + "': \"" + path + "\" must be an absolute path in a volume");
  }
}

/// Refuses options that need a terminal or a working directory.
void check_for_volume(const MountOptions& mount) {
  if (mount.foreground) {
    throw Error(ErrorCode::kUsage, "option 'debug' can't be used for a volume: it keeps the mount in the foreground");
  }
  if (!mount.writable_dir.empty()) {
    throw Error(ErrorCode::kUsage,
                "option 'writable': a volume keeps its changes itself (writable=true), or throws "
                "them away when its last user ends (writable=discard)");
  }
  if (mount.engine == Engine::kErofs) {
    throw Error(ErrorCode::kUsage, "option 'engine': a volume needs a daemon, which \"erofs\" doesn't have");
  }
  if (mount.tree.network.lock) {
    refuse_relative("lock", *mount.tree.network.lock);
  }
  if (mount.tree.network.cache_dir) {
    refuse_relative("cache-dir", *mount.tree.network.cache_dir);
  }
  for (const std::string& registry : mount.tree.network.registries) {
    if (is_local_registry(registry)) {
      refuse_relative("registry", registry);
    }
  }
}

/// Whether the package is a path. Throws Error if it can't be used.
bool check_package(const std::string& package) {
  if (package.starts_with('-')) {
    throw Error(ErrorCode::kUsage, "option 'package': \"" + package + "\" isn't a package");
  }
  try {
    const PackageSpecifier specifier = PackageSpecifier::parse(package);
    if (specifier.path() == nullptr) {
      return false;
    }
    refuse_relative("package", specifier.path()->text);
    std::error_code failed;
    const auto status = std::filesystem::status(specifier.path()->text, failed);
    if (!std::filesystem::is_regular_file(status) && !std::filesystem::is_directory(status)) {
      throw Error(ErrorCode::kNotFound, "option 'package': there is no file or directory \"" + package + "\"");
    }
  } catch (Error& error) {
    if (error.message().starts_with("option '")) {
      throw;
    }
    throw std::move(error).context("option 'package'");
  }
  return true;
}

std::vector<std::string> arguments(const char* command, const VolumeOptions& options, CommandId id) {
  std::vector<std::string> result{command};
  for (const std::string& flag : options.flags) {
    const std::string name = flag.substr(2, flag.find('=') - 2);
    if (find_option(name, id) != nullptr) {
      result.push_back(flag);
    }
  }
  return result;
}

}  // namespace

VolumeOptions parse_volume_options(const DriverOptions& given) {
  VolumeOptions options;
  for (const auto& [key, value] : given) {
    if (key.find_first_of(",\\=") != std::string::npos || key.empty()) {
      throw Error(ErrorCode::kUsage, "unknown option '" + key + "'");
    }
    if (key == "package") {
      options.package = value;
    } else {
      add_words(key, value, options.words);
    }
  }
  // Unknown options are reported first: with "pakage", "package" is missing only because of the typing error.
  const bool has_package = !options.package.empty();
  const MountOptions mount =
      parse_mount_options({"-o", joined(options.words), "--", has_package ? options.package : "none", "/"});
  if (!has_package) {
    throw Error(ErrorCode::kUsage,
                "option 'package' is missing: it says what the volume shows (package=namespace/name)");
  }
  check_for_volume(mount);
  // Without a value, the volume keeps the changes, and the mounter says where.
  options.keeps_changes = std::erase(options.words, kWritable) > 0;
  MountOptions mounted = mount;
  mounted.writable_dir = options.keeps_changes ? "/" : "";
  refuse_with_writable(mounted);
  const std::string discards = std::string(kWritable) + "=" + std::string(kDiscard);
  if (options.keeps_changes && std::ranges::find(options.words, discards) != options.words.end()) {
    throw Error(ErrorCode::kUsage, "option 'writable': a volume either keeps its changes or throws them away");
  }
  options.is_path = check_package(options.package);
  options.lock = mount.tree.network.lock;
  if (mount.follow && !options.is_path && !options.lock) {
    throw Error(ErrorCode::kUsage,
                "option 'follow': a volume stays at the versions that were found when it was created; make another "
                "volume for newer ones, or name a lock file that changes (option 'lock')");
  }
  for (const std::string& word : options.words) {
    const std::string key = word.substr(0, word.find('='));
    if (const OptionSpec* option = find_option(key, CommandId::kMount); option != nullptr && option->name != "lock") {
      options.flags.push_back("--" + std::string(option->name) + word.substr(key.size()));
    }
  }
  return options;
}

void check_volume_name(const std::string& name) {
  const bool fits =
      !name.empty() && name.size() <= kLongestName && is_alphanumeric(name.front()) &&
      std::ranges::all_of(name, [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
  if (!fits) {
    throw Error(ErrorCode::kUsage,
                "\"" + name.substr(0, kLongestName) +
                    "\" can't be a volume's name: letters, digits, \"_\", \".\" and \"-\" can, after a "
                    "letter or digit");
  }
}

std::vector<std::string> resolve_arguments(const VolumeOptions& options, const std::string& lock) {
  std::vector<std::string> result = arguments("resolve", options, CommandId::kResolve);
  result.insert(result.end(), {"--lock=" + lock, "--", options.package});
  return result;
}

std::vector<std::string> open_arguments(const VolumeOptions& options, const std::string& lock) {
  std::vector<std::string> result = arguments("ls", options, CommandId::kLs);
  if (const std::string& used = options.lock.value_or(lock); !used.empty()) {
    result.push_back("--lock=" + used);
  }
  result.insert(result.end(), {"--", options.package});
  return result;
}

std::vector<std::string> mount_arguments(const VolumeOptions& options, const std::string& lock,
                                         const std::string& mountpoint) {
  std::vector<std::string> result{"mount"};
  if (!options.words.empty()) {
    result.insert(result.end(), {"-o", joined(options.words)});
  }
  if (!options.lock && !lock.empty()) {
    result.push_back("--lock=" + lock);
  }
  result.insert(result.end(), {"--", options.package, mountpoint});
  return result;
}

}  // namespace pkgfs
