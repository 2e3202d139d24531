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
  /// The mount has the lowest precedence, whatever its mount path. The commands of a tree are such a mount.
  bool fallback = false;
  /// Mounts of two trees with the same key, paths included, show the same (Layer::key). Empty: not known.
  std::string key = {};
  /// The limits of the package. They must outlive the union.
  const limits::PackageLimits* limits = &limits::kLocal;
};

/// Throws the error of a limit for `package` (limit_error.h) if `mount_path` has more components than `limits` allow.
/// Throws the same if one of both paths has more bytes than they allow.
void check_paths(const Label& package, std::string_view mount_path, std::string_view source_path,
                 const limits::PackageLimits& limits);

/// Combines file systems that are mounted at any paths, nested ones too, into one tree (docs/rules/filesystem.md, 9.1
/// and 9.2). Each is mapped to its path (MappedPathFileSystem). All are laid over each other: those with the deepest
/// mount path on top, then in the order of `mounts`. A path above a mount is always a directory. If no layer is live,
/// the result is an OverlayFileSystem. Otherwise it is a LiveOverlayFileSystem, in which neighbouring layers that never
/// change form one OverlayFileSystem (with Conflicts::kShadow, one each). Without mounts, the result is an
/// EmptyFileSystem. With OverlayOptions::replaceable, it is always a LiveOverlayFileSystem.
///
/// Warns of the files that mount points hide. Leaves a mount out, with a warning, if its source path can't be looked
/// up, or if it is a file at "/". With `strict`, throws Error(kLoad) instead. If the source path is damaged, throws
/// Error(kCorrupt) with `strict`, or if the limits of the package refuse damage. If the look-up fails for a reason that
/// may pass (no memory, lost pages), throws Error in any case. With Conflicts::kShadow, keeps only the first of two
/// mounts at one path, and any `fallback`.
///
/// Throws Error(kLoad) for a name of more than 255 bytes in a mount path, and throws as `check_paths` does. With
/// Conflicts::kError, visits the whole tree and throws Error(kLoad) with a list of the conflicts.
[[nodiscard]] std::unique_ptr<FileSystem> make_union_file_system(std::vector<Mount> mounts,
                                                                 const OverlayOptions& options, bool strict = false);

}  // namespace pkgfs::vfs
