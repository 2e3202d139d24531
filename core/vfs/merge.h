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

/// The rule that decides what stands at a path where several layers have something (docs/rules/filesystem.md, 9.2):
/// shared by the overlay of layers that never change and the one of layers that do.
namespace pkgfs::vfs {

/// What happens where mappings meet (docs/rules/filesystem.md, 9.3).
enum class Conflicts {
  kMerge,   // directories merge, the first layer wins elsewhere
  kShadow,  // a mount hides what lies below it; of two mounts at one path the first is kept
  kError,   // hiding a file, or being hidden by one, is an error that names both packages
};

/// One file system of an overlay, with what is known of it.
struct Layer {
  std::unique_ptr<FileSystem> fs;
  std::string mount_path = "/";   // where its content shows, absolute and normal
  std::string source_path = "/";  // which part of the volume that is
  Label package;                  // for messages and attributes
  std::string volume;
  bool live = false;      // changes under us
  bool fallback = false;  // being hidden is no conflict

  [[nodiscard]] Mapping mapping() const { return {mount_path, source_path}; }
  [[nodiscard]] std::string label() const { return package.text() + " (volume \"" + volume + "\")"; }
};

/// What one layer has at a path: an entry, or an error in place of one.
struct Candidate {
  std::uint32_t layer = 0;
  int error = 0;
  Entry entry;

  [[nodiscard]] bool is_directory() const { return error == 0 && entry.attributes.type == FileType::kDirectory; }
};

/// What the candidates, in layer order, add up to. Reorders `candidates`: the first `count` are those that take part,
/// one for a file or link (or an error), all merged ones for a directory. `winner` has the attributes.
struct Decision {
  std::size_t count = 0;
  std::size_t winner = 0;
  /// Something that isn't a directory was hidden by, or hides, the result: `count` entries stay, `hidden` is the first
  /// candidate left out.
  bool conflict = false;
  std::size_t hidden = 0;
};
/// `depth` gives the length of a layer's mount path; asked only for Conflicts::kShadow.
[[nodiscard]] Decision decide(std::vector<Candidate>& candidates, Conflicts conflicts,
                              FunctionRef<std::size_t(std::uint32_t layer)> depth);

}  // namespace pkgfs::vfs
