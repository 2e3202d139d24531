// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/load/package.h"
#include "core/load/package_loader.h"
#include "core/resolve/resolve.h"
#include "core/vfs/file_system.h"
#include "core/vfs/union_file_system.h"

namespace pkgfs {

/// A command that can be run: its atom and the package that has it (docs/rules/loading.md, 4.1).
struct LoadedCommand {
  std::string name;
  webc::Command metadata;
  Blob atom;
  std::optional<std::uint16_t> mode = {};  // of the atom (webc::Atom)
  Sha256 module_hash{};                    // as the manifest states it; not computed
  std::vector<std::string> features;       // WebAssembly features, as the manifest states them
  PackageId package;                       // declares the command
  PackageId origin_package;                // has the atom
};

/// A mapping in the tree: a directory or file of a volume, and the path at which it is shown.
struct LoadedMapping {
  std::string mount_path;  // normalised
  std::string volume_name;
  std::string source_path;  // inside the volume, normalised
  PackageId package;
  bool live = false;  // a host directory or file of a directory package
};

enum class View {
  kMerged,   // the mappings of all packages and the commands, as programs in the package see them
  kPackage,  // the parts of each package, as they are stored (package_view.h)
};

struct TreeOptions {
  View view = View::kMerged;
  vfs::Conflicts conflicts = vfs::Conflicts::kMerge;
  /// Visit the whole tree first, and throw for command errors, missing source paths and damaged directories.
  bool strict = false;
  /// If the manifest of a container of version 1 or 2 names no mappings, one is assumed: its volume `atom` at "/". If
  /// the root package lacks that volume, warn instead of throwing: the package then adds no files
  /// (docs/rules/loading.md, 5.2). For a dependency, the warning doesn't depend on `lenient`. With `strict`, both cases
  /// throw.
  bool lenient = false;
  bool raw_links = false;
  /// Throw Error(kCorrupt) for a symbolic link that leads out of its volume. Needs `strict`.
  bool refuses_escapes = false;
  /// For merged directories (OverlayOptions).
  std::size_t memory = vfs::OverlayOptions{}.memory;
  /// The directory in which commands appear as executable files; none: commands don't appear.
  std::optional<std::string> commands_dir = "/bin";
  Verify verify = Verify::kNone;
  /// The time of directories that no package has, and of commands. OpenOptions has the times of other entries.
  vfs::Times times = vfs::Times::kStored;
  /// The tree can be replaced by a later one of the same package (vfs::LiveOverlayFileSystem).
  bool replaceable = false;
  /// For such a later one (OverlayOptions).
  std::uint64_t first_number = vfs::OverlayOptions{}.first_number;
};

/// A package with its dependencies as one file system. The commands of pkgfs, such as mount, tree and ls, use it.
struct PackageTree {
  PackageId id;
  std::vector<PackageId> package_ids;  // sorted; those that were loaded, the root included
  int webc_version = 3;                // of the root
  std::optional<std::string> entrypoint;
  std::vector<LoadedCommand> commands;  // by name
  std::vector<LoadedMapping> mappings;  // of two at the same path, the first has precedence
  std::map<PackageId, std::shared_ptr<const Package>> packages;
  std::unique_ptr<vfs::FileSystem> file_system;
  /// The command errors for which `strict` throws.
  std::vector<Error> command_errors;
};

/// The opened packages of a tree.
using LoadedPackages = std::map<PackageId, std::shared_ptr<const Package>>;

/// Loads the root and the packages that a visible command or a mapping needs (docs/rules/loading.md, 3). `root` is
/// the opened root package. If it is null, the root's node in the graph says where the package is. Throws Error.
[[nodiscard]] LoadedPackages fetch_packages(std::shared_ptr<const Package> root, PackageLoader& loader,
                                            const Resolution& resolution);

/// Loads the packages, and builds commands and file system (docs/rules/loading.md, 2 to 6). View::kMerged needs the
/// packages of `fetch_packages`, View::kPackage all packages of the resolution.
/// `root` is as for `fetch_packages`. View::kPackage leaves out dependencies that `load_available` can't load, with a
/// warning for each, unless it is strict or their limits refuse the damage. Throws Error(kLoad) with the texts of
/// docs/rules/loading.md, 7, and the error of a limit (core/base/limit_error.h) for too many mappings or commands.
[[nodiscard]] PackageTree load_package_tree(std::shared_ptr<const Package> root, PackageLoader& loader,
                                            const Resolution& resolution, const TreeOptions& options);

/// The command to run when none is named (docs/rules/loading.md, 2): the entrypoint, else the only command. Throws
/// Error(kLoad).
[[nodiscard]] std::string infer_entrypoint(const PackageTree& tree);

/// Bytes of all visible files, and of link targets (docs/rules/loading.md, 6), and the number of inodes. Walks the
/// whole tree.
struct Footprint {
  std::uint64_t bytes = 0;
  std::uint64_t inodes = 0;
};
[[nodiscard]] Footprint footprint(vfs::FileSystem& fs);

}  // namespace pkgfs
