// SPDX-License-Identifier: MIT
#include "core/tree/file_system.h"

#include <cerrno>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/printable.h"
#include "core/base/repeated_warning.h"
#include "core/base/system_limits.h"
#include "core/package/package_info.h"
#include "core/tree/command_files.h"
#include "core/tree/package_view.h"
#include "core/vfs/digest_time.h"
#include "core/vfs/name_index.h"
#include "core/vfs/union_file_system.h"
#include "core/vfs/walk.h"

namespace pkgfs {

namespace {

/// Prints the id when it is used: that of an unnamed package is the hash of its whole file.
vfs::Label label(const PackageId& id) {
  return std::function<std::string()>([id] { return id.to_string(); });
}

class Builder {
 public:
  Builder(const Resolution& resolution, const LoadedPackages& packages, const TreeOptions& options)
      : resolution_(resolution), packages_(packages), options_(options) {}

  /// The mappings of a live root.
  void add_live_root(const Package& root);
  void add(const ResolvedMapping& resolved);
  /// Tells the rest of the warnings, and frees what only `add` needs.
  void finish() {
    missing_sources_.end();
    names_ = {};
  }

  std::vector<LoadedMapping> mappings;
  std::vector<vfs::Mount> mounts;

 private:
  /// A volume that mappings show. It has one file system, however many mappings there are, unless it is live.
  struct Volume {
    std::shared_ptr<vfs::FileSystem> fs;                  // null: the package has no such volume
    std::set<std::pair<std::string, std::string>> shown;  // mount path and source path
  };
  void add(LoadedMapping mapping, const Package& package);
  [[nodiscard]] Volume& volume_of(const LoadedMapping& mapping, const Package& package);
  [[nodiscard]] std::optional<vfs::Entry> find_source(const LoadedMapping& mapping, const Package& package,
                                                      vfs::FileSystem& volume);

  const Resolution& resolution_;
  const LoadedPackages& packages_;
  const TreeOptions& options_;
  std::map<std::pair<const Package*, std::string>, Volume> volumes_;
  vfs::NameIndex names_;
  RepeatedWarning missing_sources_{"mappings show a path that doesn't exist or can't be read"};
};

/// Looks up the mapping's source path; a volume's root always exists. Nothing: the mapping can't be shown.
std::optional<vfs::Entry> Builder::find_source(const LoadedMapping& mapping, const Package& package,
                                               vfs::FileSystem& volume) {
  const auto found = names_.find(volume, mapping.live, mapping.source_path);
  if (found) {
    return *found;
  }
  std::string text = "The \"" + mapping.package.to_string() + "\" package maps \"" + shortened(mapping.source_path) +
                     "\" of its \"" + shortened(mapping.volume_name) + "\" volume, but that path ";
  const bool missing = found.error() == ENOENT || found.error() == ENOTDIR;
  if (Error error = system_error(text + "can't be read", found.error()); error.is_of_machine()) {
    throw std::move(error);
  }
  text += missing ? "doesn't exist" : "can't be read: " + errno_text(found.error());
  if (options_.strict || (!missing && package.limits().refuses_damage)) {
    throw Error(missing ? ErrorCode::kLoad : ErrorCode::kCorrupt, std::move(text));
  }
  missing_sources_.add("{}", text);
  return std::nullopt;
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

Builder::Volume& Builder::volume_of(const LoadedMapping& mapping, const Package& package) {
  const auto [volume, added] = volumes_.try_emplace({&package, mapping.volume_name});
  if (added || mapping.live) {
    volume->second.fs = package.open_volume(mapping.volume_name);
  }
  return volume->second;
}

void Builder::add(LoadedMapping mapping, const Package& package) {
  vfs::check_paths(label(mapping.package), mapping.mount_path, mapping.source_path, package.limits());
  Volume& volume = volume_of(mapping, package);
  if (volume.fs == nullptr) {
    miss_volume(mapping, package, mapping.package == resolution_.package.root, options_);
    return;
  }
  vfs::Mount mount;
  if (mapping.source_path != "/") {
    mount.source = find_source(mapping, package, *volume.fs);
    if (!mount.source) {
      return;
    }
  }
  // What a mapping shows for the second time can't be seen (docs/rules/filesystem.md, 9.3).
  if (mapping.live || volume.shown.emplace(mapping.mount_path, mapping.source_path).second) {
    mount.fs = volume.fs;
    mount.mount_path = mapping.mount_path;
    mount.source_path = mapping.source_path;
    mount.package = label(mapping.package);
    mount.volume = mapping.volume_name;
    mount.live = mapping.live;
    mount.key = package.volume_key(mapping.volume_name);
    mount.limits = &package.limits();
    mounts.push_back(std::move(mount));
  }
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
         .package = resolution_.package.root,
         .live = true},
        root);
  }
}

void Builder::add(const ResolvedMapping& resolved) {
  const auto found = packages_.find(resolved.package);
  if (found == packages_.end()) {
    throw Error(ErrorCode::kLoad, "\"" + resolution_.package.root.to_string() + "\" wants to use the \"" +
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

/// Visits the whole tree and throws at the first entry that can't be read.
void refuse_damage(vfs::FileSystem& fs) {
  for (vfs::TreeWalk walk(fs, fs.root()); walk.next();) {
    if (const vfs::WalkStep& step = walk.step(); step.error != 0) {
      const Error error =
          system_error("\"" + shortened(step.path.empty() ? "/" : step.path) + "\" can't be read", step.error);
      throw error.is_of_machine() ? error : Error(ErrorCode::kCorrupt, error);
    }
  }
}

LoadedFileSystem build_merged(const Resolution& resolution, const LoadedPackages& packages,
                              const std::vector<LoadedCommand>& commands, const TreeOptions& options,
                              std::int64_t synthetic) {
  Builder builder(resolution, packages, options);
  const PackageId& root_id = resolution.package.root;
  const Package& root = *packages.at(root_id);
  if (root.is_live()) {
    builder.add_live_root(root);
  }
  for (const auto& mapping : resolution.package.filesystem) {
    if (!root.is_live() || mapping.package != root_id) {
      builder.add(mapping);
    }
  }
  builder.finish();
  if (options.commands_dir) {
    add_command_files(commands, options, synthetic, builder.mounts);
  }
  LoadedFileSystem loaded;
  loaded.mappings = std::move(builder.mappings);
  loaded.file_system = vfs::make_union_file_system(std::move(builder.mounts),
                                                   {.conflicts = options.conflicts,
                                                    .raw_links = options.raw_links,
                                                    .refuses_escapes = options.refuses_escapes,
                                                    .synthetic_modified = synthetic,
                                                    .memory = options.memory,
                                                    .replaceable = options.replaceable,
                                                    .first_number = options.first_number},
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
