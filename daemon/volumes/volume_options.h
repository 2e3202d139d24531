// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pkgfs {

/// The options of a volume as an engine passes them on: `-o package=python/python -o registry=wasmer.io`. All but
/// `package` are those of `pkgfs mount -o`, under the same names; `o` takes several of them, as in `-o`.
using DriverOptions = std::map<std::string, std::string>;

/// What a volume shows, and how. A value; made by `parse_volume_options` only, so it is valid.
struct VolumeOptions {
  std::string package;
  std::vector<std::string> words;   // for -o: "registry=wasmer.io", "strict"; not escaped
  std::vector<std::string> flags;   // the part of them that resolving and downloading need: "--registry=wasmer.io"
  std::optional<std::string> lock;  // a lock file of the user's own
  bool is_path = false;             // a file or directory of this machine: opened as it is at each mount
};

/// Engines turn what a user types into a map of texts, so a switch is there with "" or "true" and left out with
/// "false". Relative paths are refused: the plugin has no directory that a user could mean. Throws Error(kUsage) that
/// names the option, Error(kNotFound) for a path where nothing is.
[[nodiscard]] VolumeOptions parse_volume_options(const DriverOptions& given);

/// Throws Error(kUsage) for what isn't a volume name of docker and podman: letters, digits, "_", ".", "-", the first
/// one a letter or digit. It becomes the name of a directory.
void check_volume_name(const std::string& name);

/// The arguments of `pkgfs`, without that word, that resolve the package and write what was chosen to `lock`; that
/// download what it needs; and that mount it. `lock` empty: none, or the volume's own.
[[nodiscard]] std::vector<std::string> resolve_arguments(const VolumeOptions& options, const std::string& lock);
[[nodiscard]] std::vector<std::string> pull_arguments(const VolumeOptions& options, const std::string& lock);
[[nodiscard]] std::vector<std::string> mount_arguments(const VolumeOptions& options, const std::string& lock,
                                                       const std::string& mountpoint);

}  // namespace pkgfs
