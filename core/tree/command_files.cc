// SPDX-License-Identifier: MIT
#include "core/tree/command_files.h"

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/limits.h"
#include "core/base/printable.h"
#include "core/base/repeated_warning.h"
#include "core/package/package_info.h"
#include "core/vfs/digest_time.h"
#include "core/vfs/path_text.h"
#include "core/vfs/providers.h"
#include "core/vfs/static_file_system.h"

namespace pkgfs {

namespace {

/// Whether a command can be a file name.
bool usable_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.size() <= limits::kNameBytes &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

/// The commands that can be files, by name. Warns of the others.
std::vector<const LoadedCommand*> usable(const std::vector<LoadedCommand>& commands, const std::string& directory) {
  std::vector<const LoadedCommand*> files;
  RepeatedWarning unusable("commands have a name that is no file name");
  for (const LoadedCommand& command : commands) {
    if (usable_name(command.name)) {
      files.push_back(&command);
    } else {
      unusable.add("the command \"{}\" of \"{}\" isn't shown in \"{}\": its name is no file name",
                   shortened(command.name), command.package.to_string(), directory);
    }
  }
  unusable.end();
  return files;
}

void warn_of_hidden(const std::vector<const LoadedCommand*>& commands, const std::string& directory,
                    const std::vector<vfs::Mount>& mounts) {
  std::vector<std::string_view> names;
  names.reserve(commands.size());
  for (const LoadedCommand* command : commands) {
    names.push_back(command->name);
  }
  const std::vector<std::size_t> providers = vfs::find_providers(mounts, directory, names);
  RepeatedWarning hidden("commands are hidden by files of packages");
  for (std::size_t i = 0; i < commands.size(); ++i) {
    if (providers[i] < mounts.size()) {
      hidden.add("the command \"{}\" of \"{}\" isn't shown: \"{}\" already has \"{}\"", commands[i]->name,
                 commands[i]->package.to_string(), mounts[providers[i]].package.text(),
                 shortened(vfs::join_path(directory, commands[i]->name)));
    }
  }
  hidden.end();
}

}  // namespace

void add_command_files(const std::vector<LoadedCommand>& commands, const TreeOptions& options,
                       std::int64_t directory_time, std::vector<vfs::Mount>& mounts) {
  const std::string directory = normalize_mount_path(*options.commands_dir);
  const std::vector<const LoadedCommand*> shown = usable(commands, directory);
  if (shown.empty()) {
    return;
  }
  warn_of_hidden(shown, directory, mounts);
  std::vector<vfs::StaticFile> files;
  files.reserve(shown.size());
  std::string key = "commands";
  for (const LoadedCommand* command : shown) {
    if (options.replaceable) {
      key += '\0' + command->name + '\0' + to_hex(command->module_hash) + '\0' +
             std::to_string(command->mode.value_or(0755)) + '\0' + std::to_string(command->atom.length);
    }
    files.push_back(
        {.path = vfs::join_path(directory, command->name),
         .content = command->atom,
         .mode = command->mode.value_or(0755),
         .modified = options.times == vfs::Times::kDigest
                         ? vfs::digest_time(std::as_bytes(std::span(command->module_hash)))
                         : 1,
         .sha256 = command->module_hash,
         .package = std::function<std::string()>([id = command->origin_package] { return id.to_string(); })});
  }
  mounts.push_back({.fs = std::make_shared<vfs::StaticFileSystem>(std::move(files), directory_time),
                    .mount_path = "/",
                    .source_path = "/",
                    .package = "",
                    .volume = "commands",
                    .fallback = true,
                    .key = options.replaceable ? std::move(key) : std::string()});
}

}  // namespace pkgfs
