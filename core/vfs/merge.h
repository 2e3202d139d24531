// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/vfs/file_system.h"
#include "core/vfs/label.h"
#include "core/vfs/path_text.h"

/// The rule that decides which entry is at a path where several layers have one (docs/rules/filesystem.md, 9.2).
/// OverlayFileSystem, whose layers never change, and LiveOverlayFileSystem share it.
namespace pkgfs::vfs {

/// What happens where mappings meet (docs/rules/filesystem.md, 9.3).
enum class Conflicts {
  kMerge,   // directories merge, the first layer wins elsewhere
  kShadow,  // a mount hides what lies below it; of two mounts at one path the first is kept
  kError,   // hiding a file, or being hidden by one, is an error that names both packages
};

struct OverlayOptions {
  Conflicts conflicts = Conflicts::kMerge;
  /// Show the texts of symbolic links as stored, even of those that lead out of the mount.
  bool raw_links = false;
  /// Throw Error(kCorrupt), while a directory is merged, for a symbolic link that leads out of its volume. For a caller
  /// that visits the whole tree before it serves any request.
  bool refuses_escapes = false;
  /// The modified time of directories that no layer has.
  std::int64_t synthetic_modified = 1;
  /// The memory for merged directories, in bytes: OverlayFileSystem evicts directories beyond it. The default has room
  /// for 400,000 entries. LiveOverlayFileSystem and the layers in it know no such bound.
  std::size_t memory = std::size_t{32} << 20U;
  /// The tree can be replaced by another one while it is mounted. So it is a LiveOverlayFileSystem in any case.
  bool replaceable = false;
  /// The number before that of the first entry. In a tree that replaces another, LiveOverlayFileSystem::next_number.
  std::uint64_t first_number = kRootNumber;
};

/// A path where one layer hides a file of another, or where a file hides an entry of another.
struct OverlayConflict {
  std::string path;
  std::string winner;
  std::string loser;
};

/// One file system of an overlay, and where it comes from.
struct Layer {
  std::unique_ptr<FileSystem> fs;
  std::string mount_path = "/";   // where its content shows, absolute and normal
  std::string source_path = "/";  // which part of the volume that is
  Label package;                  // for messages and attributes
  std::string volume;
  bool live = false;      // may change at any time
  bool fallback = false;  // being hidden is no conflict
  /// Added to the layer's numbers, so that no two layers of a tree have the same one. 1 is the root of the tree.
  std::uint64_t number_base = kRootNumber;
  /// Layers of two trees with the same key show the same. Empty: not known.
  std::string key = {};

  [[nodiscard]] Mapping mapping() const { return {mount_path, source_path}; }
  [[nodiscard]] std::string label() const { return package.text() + " (volume \"" + volume + "\")"; }
};

/// Sets the `number_base` of each layer, in their order; that of the first is `base`. Returns the base that one more
/// layer would get.
std::uint64_t number_layers(std::vector<Layer>& layers, std::uint64_t base = kRootNumber);

/// The entry of one layer at a path, or the error in its place.
struct Candidate {
  std::uint32_t layer = 0;
  int error = 0;
  Entry entry;

  [[nodiscard]] bool is_directory() const { return error == 0 && entry.attributes.type == FileType::kDirectory; }
};

/// The result of `decide`. The first `count` of the candidates make the entry: one for a file, a link or an error, all
/// merged ones for a directory. `winner` is the index of the candidate whose attributes the entry has.
struct Decision {
  std::size_t count = 0;
  std::size_t winner = 0;
  /// Whether an entry that isn't a directory hides a candidate, or is hidden. `hidden` is then the index of the first
  /// candidate that was left out.
  bool conflict = false;
  std::size_t hidden = 0;
};
/// Decides which of `candidates` make the entry, and puts those first. `candidates` are in layer order and not empty.
/// `depth` answers the length of a layer's mount path; it is called only for Conflicts::kShadow.
[[nodiscard]] Decision decide(std::vector<Candidate>& candidates, Conflicts conflicts,
                              FunctionRef<std::size_t(std::uint32_t layer)> depth);

}  // namespace pkgfs::vfs
