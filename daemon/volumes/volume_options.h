// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pkgfs {

/// The options of a volume as an engine passes them: `-o package=python/python -o registry=wasmer.io`. All but
/// `package` are those of `pkgfs mount -o`, with the same names. The option `o` holds several of them, separated by
/// commas.
using DriverOptions = std::map<std::string, std::string>;

/// The parsed and checked options of a volume. Made by `parse_volume_options` only.
struct VolumeOptions {
  std::string package;
  std::vector<std::string> words;   // the words of -o, not escaped: "registry=wasmer.io", "strict"
  std::vector<std::string> flags;   // the options for resolving and opening: "--registry=wasmer.io"
  std::optional<std::string> lock;  // a lock file that the user wrote
  bool keeps_changes = false;       // programs may write; the volume has the changes until it is removed
  bool is_path = false;             // `package` is a file or directory, opened anew at each mount
};

/// Parses and checks options. Every value is a string. A switch is on with "", "true", "yes" or "1", and off with
/// "false", "no" or "0". A relative path is refused, because the plugin does not know the user's working directory.
/// Throws Error naming the option: kUsage, or kNotFound for a package file that does not exist.
[[nodiscard]] VolumeOptions parse_volume_options(const DriverOptions& given);

/// Whether a registry is a directory of this machine, and neither a URL nor a domain.
[[nodiscard]] inline bool is_local_registry(const std::string& registry) {
  return registry.find("://") == std::string::npos &&
         (registry.find('/') != std::string::npos || registry.starts_with('.'));
}

/// Throws Error(kUsage) unless Docker and Podman allow the name for a volume. A name has at most 255 letters, digits,
/// "_", "." and "-", and begins with a letter or a digit. A directory gets this name, so no other character is allowed.
void check_volume_name(const std::string& name);

/// The arguments of the commands that work for a volume. `pkgfs resolve` writes the lock file `lock`. `pkgfs ls` opens
/// what `pkgfs mount` will open. These two read `lock`, or the lock file that `options` name. For them, `lock` may be
/// empty: then they read none.
[[nodiscard]] std::vector<std::string> resolve_arguments(const VolumeOptions& options, const std::string& lock);
[[nodiscard]] std::vector<std::string> open_arguments(const VolumeOptions& options, const std::string& lock);
[[nodiscard]] std::vector<std::string> mount_arguments(const VolumeOptions& options, const std::string& lock,
                                                       const std::string& mountpoint);

}  // namespace pkgfs
