// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/limits.h"
#include "core/vfs/file_system.h"
#include "core/vfs/label.h"
#include "core/vfs/merge.h"
#include "core/vfs/overlay_file_system.h"

namespace pkgfs::vfs {

/// One mount of a union: `source_path` of `fs` shows at `mount_path`.
struct Mount {
  std::shared_ptr<FileSystem> fs;  // several mounts that aren't live may share one
  std::string mount_path = "/";    // absolute, normal
  std::string source_path = "/";   // absolute, normal, in `fs`
  Label package;                   // for messages and attributes
  std::string volume;
  bool live = false;  // may change at any time: a host directory
  /// The entry of `source_path`, if the caller has looked it up already.
  std::optional<Entry> source = std::nullopt;
  /// Below all other mounts wherever it is mounted, as the commands are.
  bool fallback = false;
  /// Those of the package; they outlive the union.
  const limits::PackageLimits* limits = &limits::kLocal;
};

/// Throws the error of `package` (limit_error.h) if a mount path has more components than `limits` allow, or one of
/// both paths more bytes.
void check_paths(const Label& package, std::string_view mount_path, std::string_view source_path,
                 const limits::PackageLimits& limits);

/// Combines file systems that are mounted at any paths, nested ones too, into one tree (docs/rules/filesystem.md, 9.1
/// and 9.2). Each is mapped to its path (MappedPathFileSystem). All are laid over each other: those with the deepest
/// mount path on top, then in the order of `mounts`. A path above a mount is always a directory. Layers that never
/// change become one OverlayFileSystem; if one is live, a LiveOverlayFileSystem is laid over them. Without mounts the
/// result is an EmptyFileSystem.
///
/// Warns of the files that mount points hide. If a source path doesn't exist, or a file is mounted at "/",
/// the mount is left out with a warning; with `strict`, throws Error(kLoad). Throws Error(kCorrupt) for a damaged
/// source path if the limits of the package refuse damage, or with `strict`. With Conflicts::kError, visits the whole
/// tree and throws Error(kLoad) with a list of the conflicts. Throws as `check_paths` does.
[[nodiscard]] std::unique_ptr<FileSystem> make_union_file_system(std::vector<Mount> mounts,
                                                                 const OverlayOptions& options, bool strict = false);

}  // namespace pkgfs::vfs
