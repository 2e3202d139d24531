// SPDX-License-Identifier: MIT
#include "core/load/outside.h"

#include <fmt/format.h>

#include <fcntl.h>

#include <cerrno>
#include <filesystem>
#include <vector>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/load/host_path.h"

namespace pkgfs {
namespace {

/// A path of a manifest and where it stands there: `source of module "m"`.
struct ManifestPath {
  std::string key;
  std::string path;
};

/// In the order of what a reader should know first: what becomes a program, then files, then texts.
std::vector<ManifestPath> paths_of(const WasmerToml& toml) {
  std::vector<ManifestPath> paths;
  const auto add = [&](std::string key, const std::optional<std::string>& path) {
    if (path) {
      paths.push_back({std::move(key), *path});
    }
  };
  for (const auto& module : toml.modules) {
    const std::string where = " of the module \"" + module.name + "\"";
    add("\"source\"" + where, module.source);
    if (module.bindings) {
      add(std::string(module.bindings->wit ? "\"wit-exports\"" : "\"exports\"") + where, module.bindings->exports);
      for (const std::string& path : module.bindings->imports) {
        add("\"imports\"" + where, path);
      }
    }
  }
  for (const auto& command : toml.commands) {
    if (command.annotations_file) {
      add("\"annotations.file\" of the command \"" + command.name + "\"", command.annotations_file->first);
    }
  }
  for (const auto& [guest, host] : toml.fs) {
    add("\"" + guest + "\" of [fs]", host);
  }
  if (toml.package) {
    add("\"license-file\" of [package]", toml.package->license_file);
    add("\"readme\" of [package]", toml.package->readme);
  }
  return paths;
}

/// Where `path` leads, with links resolved as far as it exists.
std::string target_of(const std::string& name, const std::string& path) {
  std::error_code failed;
  const std::filesystem::path joined = std::filesystem::path(name) / path;
  std::filesystem::path target = std::filesystem::weakly_canonical(joined, failed);
  return failed ? std::filesystem::absolute(joined, failed).lexically_normal().string() : target.string();
}

bool has_link_out(int base, const HostPath& path) { return !open_host_path(base, path, O_PATH) && errno == EXDEV; }

}  // namespace

void check_outside(const WasmerToml& toml, int base, const std::string& name, bool allow_outside) {
  for (const auto& [key, path] : paths_of(toml)) {
    const HostPath parsed = HostPath::parse(path);
    const bool has_link = has_link_out(base, parsed);
    if (!parsed.leaves() && !has_link) {
      continue;
    }
    const std::string text =
        fmt::format("\"{}/wasmer.toml\": {} is \"{}\", which leads out of the package directory, to \"{}\"", name, key,
                    path, target_of(name, path));
    if (has_link) {
      throw Error(ErrorCode::kPermission, {text, "a symbolic link may not lead out of the package directory"});
    }
    if (!allow_outside) {
      throw Error(ErrorCode::kPermission, {text,
                                           "--allow-outside shows it, if you trust the package named on the "
                                           "command line; a dependency may never lead out"});
    }
    log::warn("{}", text);
  }
}

}  // namespace pkgfs
