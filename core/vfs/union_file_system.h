// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/vfs/file_system.h"
#include "core/vfs/label.h"
#include "core/vfs/merge.h"
#include "core/vfs/overlay_file_system.h"

namespace pkgfs::vfs {

/// One mount of a union: `source_path` of `fs` shows at `mount_path`.
struct Mount {
  std::unique_ptr<FileSystem> fs;
  std::string mount_path = "/";   // absolute, normal
  std::string source_path = "/";  // absolute, normal, in `fs`
  Label package;                  // for messages and attributes
  std::string volume;
  bool live = false;  // changes under us: a host directory
  /// Stands below everything else wherever it is mounted: the commands.
  bool fallback = false;
};

/// File systems mounted at any paths, nested ones too, as one tree (docs/rules/filesystem.md, 9.1 and 9.2): each is
/// mapped to its path (MappedPathFileSystem), and all are laid over each other, the deepest mount path on top, then
/// list order. A path above a mount is always a directory. Layers that never change become one OverlayFileSystem; a
/// live one makes the whole a LiveOverlayFileSystem over it. No mounts: EmptyFileSystem.
///
/// `mounts` are in order of precedence. Files that a mount point hides are warned of. A source path that doesn't exist
/// or a file mounted at "/" is warned of and left out, or thrown as Error(kLoad) with `strict`. With Conflicts::kError
/// the whole tree is visited and Error(kLoad) lists what collides.
[[nodiscard]] std::unique_ptr<FileSystem> make_union_file_system(std::vector<Mount> mounts,
                                                                 const OverlayOptions& options, bool strict = false);

}  // namespace pkgfs::vfs
