// SPDX-License-Identifier: MIT
#include "core/tree/file_system.h"

#include <cerrno>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/package/package_info.h"
#include "core/tree/package_view.h"
#include "core/vfs/digest_time.h"
#include "core/vfs/path_text.h"
#include "core/vfs/static_file_system.h"
#include "core/vfs/union_file_system.h"
#include "core/vfs/walk.h"

namespace pkgfs {

namespace {

/// Prints the id when it is used: that of an unnamed package is the hash of its whole file.
vfs::Label label(const PackageId& id) {
  return std::function<std::string()>([id] { return id.to_string(); });
}

struct Builder {
  const Resolution& resolution;
  const LoadedPackages& packages;
  const TreeOptions& options;
  std::vector<LoadedMapping> mappings;
  std::vector<vfs::Mount> mounts;

  void add(LoadedMapping mapping, const Package& package);
  void add_live_root(const Package& root);
  void add_resolved(const ResolvedMapping& resolved);
};

/// Looks up the mapping's source path; a volume's root always exists.
bool source_exists(const LoadedMapping& mapping, vfs::FileSystem& volume, bool strict) {
  if (mapping.source_path == "/") {
    return true;
  }
  const auto found = vfs::find_path(volume, mapping.source_path);
  if (found) {
    volume.forget(found->inode, 1);
    return true;
  }
  std::string text = "The \"" + mapping.package.to_string() + "\" package maps \"" + mapping.source_path +
                     "\" of its \"" + mapping.volume_name + "\" volume, but that path ";
  const bool missing = found.error() == ENOENT || found.error() == ENOTDIR;
  text += missing ? "doesn't exist" : "can't be read: " + std::generic_category().message(found.error());
  if (strict) {
    throw Error(missing ? ErrorCode::kLoad : ErrorCode::kCorrupt, std::move(text));
  }
  log::warn("{}", text);
  return false;
}

/// Whether no manifest names the mapping: a package of version 1 or 2 without an `fs` annotation has it
/// (docs/rules/resolution.md, 3.2).
bool is_assumed(const LoadedMapping& mapping, const Package& package) {
  return package.webc_version() < 3 && mapping.volume_name == "atom" && mapping.mount_path == "/" &&
         mapping.source_path == "/" && !package.manifest().fs();
}

/// Throws for a volume that isn't there, or warns if nothing but an assumption needs it.
void miss_volume(const LoadedMapping& mapping, const Package& package, bool is_root, const TreeOptions& options) {
  const std::string missing =
      "The \"" + mapping.package.to_string() + "\" package doesn't have a \"" + mapping.volume_name + "\" volume";
  if (!is_assumed(mapping, package)) {
    throw Error(ErrorCode::kLoad, missing);
  }
  const std::string why =
      "its manifest has no \"fs\" annotation, so that the mapping of this volume to \"/\" was assumed";
  if (options.strict || (is_root && !options.lenient)) {
    throw Error(ErrorCode::kLoad, {missing, why + (is_root ? "; --strict=no shows an empty tree instead" : "")});
  }
  log::warn("{}: {}; the package adds no files", missing, why);
}

void Builder::add(LoadedMapping mapping, const Package& package) {
  auto volume = package.open_volume(mapping.volume_name);
  if (volume == nullptr) {
    miss_volume(mapping, package, mapping.package == resolution.package.root, options);
    return;
  }
  if (!source_exists(mapping, *volume, options.strict)) {
    return;
  }
  vfs::Mount mount;
  mount.fs = std::move(volume);
  mount.mount_path = mapping.mount_path;
  mount.source_path = mapping.source_path;
  mount.package = label(mapping.package);
  mount.volume = mapping.volume_name;
  mount.live = mapping.live;
  mounts.push_back(std::move(mount));
  mappings.push_back(std::move(mapping));
}

void Builder::add_live_root(const Package& root) {
  const auto entries = root.manifest().fs();
  if (!entries) {
    return;
  }
  for (const auto& entry : *entries) {
    add({.mount_path = normalize_mount_path(entry.mount_path),
         .volume_name = entry.volume_name,
         .source_path = "/",
         .package = resolution.package.root,
         .live = true},
        root);
  }
}

void Builder::add_resolved(const ResolvedMapping& resolved) {
  const auto found = packages.find(resolved.package);
  if (found == packages.end()) {
    throw Error(ErrorCode::kLoad, "\"" + resolution.package.root.to_string() + "\" wants to use the \"" +
                                      resolved.package.to_string() + "\" package, but it isn't in the dependency tree");
  }
  const Package& package = *found->second;
  LoadedMapping mapping{.mount_path = normalize_mount_path(resolved.mount_path),
                        .volume_name = resolved.volume_name,
                        .source_path = "/",
                        .package = resolved.package,
                        .live = package.is_live()};
  if (resolved.original_path) {
    if (package.webc_version() < 3) {
      mapping.source_path = sanitize_path(*resolved.original_path);
    } else {
      log::debug("the path \"{}\" inside the volume \"{}\" of \"{}\" is ignored: the container has version 3",
                 *resolved.original_path, resolved.volume_name, resolved.package.to_string());
    }
  }
  add(std::move(mapping), package);
}

/// Whether a command can be a file name.
bool usable_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.size() <= limits::kNameBytes &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

/// Whether `mount` has an entry at `path`, or a file above it that hides the path.
bool provides(const vfs::Mount& mount, std::string_view path) {
  if (vfs::path_covers(path, mount.mount_path)) {
    return true;  // a mount point is a directory, or what is mounted
  }
  if (!vfs::path_covers(mount.mount_path, path)) {
    return false;
  }
  const std::string inside =
      (mount.source_path == "/" ? "" : mount.source_path) + std::string(vfs::path_below(mount.mount_path, path));
  const auto found = vfs::find_path(*mount.fs, inside);
  if (found) {
    mount.fs->forget(found->inode, 1);
  }
  return found || found.error() == ENOTDIR;
}

/// The modified time of directories that no package has. It changes with every package of the tree.
std::int64_t synthetic_time(const LoadedPackages& packages, vfs::Times times) {
  if (times != vfs::Times::kDigest) {
    return 1;
  }
  std::uint64_t digest = 0;
  for (const auto& [id, package] : packages) {
    digest = digest * 0x100000001b3ULL + package->header_digest();
  }
  return vfs::digest_time(digest);
}

/// A layer with the commands as files, below all layers of the packages. `directory_time` is the time of its
/// directories.
void add_commands(const std::vector<LoadedCommand>& commands, const TreeOptions& options, std::int64_t directory_time,
                  std::vector<vfs::Mount>& mounts) {
  const std::string directory = normalize_mount_path(*options.commands_dir);
  std::vector<vfs::StaticFile> files;
  for (const auto& command : commands) {
    if (!usable_name(command.name)) {
      log::warn("the command \"{}\" of \"{}\" isn't shown in \"{}\": its name is no file name", command.name,
                command.package.to_string(), directory);
      continue;
    }
    const std::string path = vfs::join_path(directory, command.name);
    for (const auto& mount : mounts) {
      if (provides(mount, path)) {
        log::warn("the command \"{}\" of \"{}\" isn't shown: \"{}\" already has \"{}\"", command.name,
                  command.package.to_string(), mount.package.text(), path);
        break;
      }
    }
    files.push_back({.path = path,
                     .content = command.atom,
                     .mode = 0755,
                     .modified = options.times == vfs::Times::kDigest
                                     ? vfs::digest_time(std::as_bytes(std::span(command.module_hash)))
                                     : 1,
                     .sha256 = command.module_hash,
                     .package = label(command.origin_package)});
  }
  if (!files.empty()) {
    mounts.push_back({.fs = std::make_unique<vfs::StaticFileSystem>(std::move(files), directory_time),
                      .mount_path = "/",
                      .source_path = "/",
                      .package = "",
                      .volume = "commands",
                      .fallback = true});
  }
}

/// Visits the whole tree and throws at the first entry that can't be read.
void refuse_damage(vfs::FileSystem& fs) {
  for (vfs::TreeWalk walk(fs, fs.root()); walk.next();) {
    if (const vfs::WalkStep& step = walk.step(); step.error != 0) {
      throw Error(ErrorCode::kCorrupt, "\"" + std::string(step.path.empty() ? "/" : step.path) +
                                           "\" can't be read: " + std::generic_category().message(step.error));
    }
  }
}

LoadedFileSystem build_merged(const Resolution& resolution, const LoadedPackages& packages,
                              const std::vector<LoadedCommand>& commands, const TreeOptions& options,
                              std::int64_t synthetic) {
  Builder builder{.resolution = resolution, .packages = packages, .options = options, .mappings = {}, .mounts = {}};
  const PackageId& root_id = resolution.package.root;
  const Package& root = *packages.at(root_id);
  if (root.is_live()) {
    builder.add_live_root(root);
  }
  for (const auto& mapping : resolution.package.filesystem) {
    if (!root.is_live() || mapping.package != root_id) {
      builder.add_resolved(mapping);
    }
  }
  if (options.commands_dir) {
    add_commands(commands, options, synthetic, builder.mounts);
  }
  LoadedFileSystem loaded;
  loaded.mappings = std::move(builder.mappings);
  loaded.file_system = vfs::make_union_file_system(std::move(builder.mounts),
                                                   {.conflicts = options.conflicts,
                                                    .raw_links = options.raw_links,
                                                    .synthetic_modified = synthetic,
                                                    .memory = options.memory},
                                                   options.strict);
  return loaded;
}

}  // namespace

LoadedFileSystem build_file_system(const Resolution& resolution, const LoadedPackages& packages,
                                   const std::vector<LoadedCommand>& commands, const TreeOptions& options) {
  const std::int64_t synthetic = synthetic_time(packages, options.times);
  LoadedFileSystem loaded = options.view == View::kPackage
                                ? build_package_view(resolution, packages, options, synthetic)
                                : build_merged(resolution, packages, commands, options, synthetic);
  if (options.strict) {
    refuse_damage(*loaded.file_system);
  }
  return loaded;
}

}  // namespace pkgfs
