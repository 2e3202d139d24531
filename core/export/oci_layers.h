// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/hash.h"
#include "core/base/unique_fd.h"
#include "core/tree/package_tree.h"

namespace pkgfs {

enum class LayerForm : std::uint8_t { kTar, kGzip };

/// Layers of one image. Docker refuses an image with more than 125, and users add layers of their own.
inline constexpr std::size_t kMostLayers = 120;

/// One layer of an image, in a nameless file.
struct ImageLayer {
  std::string package;     // whose files it holds
  Sha256 digest{};         // of the file
  Sha256 diff_id{};        // of the tar archive in it
  std::uint64_t size = 0;  // of the file
  UniqueFd file;
  std::string file_name;  // of `file`, for messages
};

/// Splits `tree` into layers, one for each package that shows something in it. The layers of dependencies come first,
/// in the order of their ids; the last layer is that of the root, which has the package commands of the tree, too,
/// unless another package has their atom.
///
/// Each visible entry is in exactly one layer, so layers don't hide each other's files. Directories above an entry are
/// in its layer, too, with the attributes that the tree shows. So two images share the layer of a dependency if it
/// shows the same files in both, and if the directories above them are equal.
///
/// If more than kMostLayers packages show something, those that the walk of the tree meets last share a layer behind
/// those of the other dependencies.
///
/// The layers are in nameless files in `directory`; an empty path stands for the directory for temporary files. All are
/// open at the same time, with less than 0.5 MiB of memory each.
///
/// Throws Error, kUnsupported for a name that begins with ".wh.", which means a deletion in a layer (OCI image-spec
/// 1.0, layer.md, "Whiteouts").
[[nodiscard]] std::vector<ImageLayer> make_layers(const PackageTree& tree, LayerForm form,
                                                  const std::string& directory);

}  // namespace pkgfs
