// SPDX-License-Identifier: MIT
#include "core/load/outside.h"

#include <fmt/format.h>

#include <fcntl.h>

#include <cerrno>
#include <filesystem>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/files.h"
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

/// Where `path` leads. Outside of the package directory no link is followed and nothing is looked up: that alone could
/// make this machine mount the file system of another one.
std::string target_of(const std::string& name, const HostPath& path) {
  std::error_code failed;
  const std::filesystem::path canonical = std::filesystem::canonical(name, failed);
  const std::filesystem::path root = failed ? std::filesystem::absolute(name, failed) : canonical;
  std::filesystem::path at = path.absolute ? "/" : root;
  for (std::size_t i = 0; i < path.climbs; ++i) {
    at = at.parent_path();
  }
  std::vector<std::filesystem::path> way(path.components.rbegin(), path.components.rend());  // the next is at the back
  bool is_inside = !path.leaves();
  int links = 0;
  while (!way.empty()) {
    const std::filesystem::path next = std::move(way.back());
    way.pop_back();
    if (next == "..") {
      at = at.parent_path();
    } else if (!next.empty() && next != ".") {
      at /= next;
    }
    is_inside = is_inside && is_below(at, root);
    const std::filesystem::path link = is_inside ? std::filesystem::read_symlink(at, failed) : std::filesystem::path();
    if (!link.empty() && ++links <= kLinksFollowed) {
      at = at.parent_path();
      const std::vector<std::filesystem::path> parts(link.begin(), link.end());
      way.insert(way.end(), parts.rbegin(), parts.rend());
    }
  }
  return at.string();
}

bool has_link_out(int base, const HostPath& path) { return !open_host_path(base, path, O_PATH) && errno == EXDEV; }

}  // namespace

void check_outside(const WasmerToml& toml, int base, const std::string& name, bool allow_outside) {
  for (const auto& [key, path] : paths_of(toml)) {
    const HostPath parsed = HostPath::parse(path);
    const bool is_refused = parsed.leaves() && !allow_outside;  // by its text, so that nothing outside is touched
    const bool has_link = !is_refused && has_link_out(base, parsed);
    if (!parsed.leaves() && !has_link) {
      continue;
    }
    const std::string text =
        fmt::format("\"{}/wasmer.toml\": {} is \"{}\", which leads out of the package directory, to \"{}\"", name, key,
                    path, target_of(name, parsed));
    if (has_link) {
      throw Error(ErrorCode::kPermission, {text, "a symbolic link may not lead out of the package directory"});
    }
    if (is_refused) {
      throw Error(ErrorCode::kPermission, {text,
                                           "--allow-outside shows it, if you trust the package named on the "
                                           "command line; a dependency may never lead out"});
    }
    log::warn("{}", text);
  }
}

}  // namespace pkgfs
