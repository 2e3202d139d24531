// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/export/byte_sink.h"
#include "core/export/oci_layers.h"
#include "core/tree/package_tree.h"

namespace pkgfs {

/// Facts of an image that the tree doesn't have.
struct ImageOptions {
  std::string os = "linux";
  std::string architecture = "wasm";
  std::optional<std::string> commands_dir;  // as in TreeOptions
  std::string directory;                    // for temporary files (make_layers)
};

/// A container image of a package tree: layers and the JSON documents that describe them. The same packages and options
/// give the same bytes, if zlib is the same.
class OciImage {
 public:
  /// Reads the whole tree. Throws Error (make_layers).
  OciImage(const PackageTree& tree, const ImageOptions& options, LayerForm form);

  /// Writes an OCI image layout (OCI image-spec 1.0, image-layout.md) as a tar archive. Throws Error.
  void write_layout(ByteSink& out) const;
  /// Writes the same files into the empty directory `directory`, a descriptor. `name` is for messages.
  void write_layout(int directory, const std::string& name) const;
  /// Writes an archive that `docker load` and `podman load` read: manifest.json, the configuration and the layers. For
  /// LayerForm::kTar only.
  void write_docker_archive(ByteSink& out) const;

 private:
  /// A file of a layout: a text, or else a layer.
  struct File {
    std::string path;
    std::string text;
    const ImageLayer* layer = nullptr;
  };
  [[nodiscard]] std::vector<File> layout_files() const;
  static void write_archive(const std::vector<File>& files, ByteSink& out);

  std::vector<ImageLayer> layers_;
  std::string config_;
  std::string manifest_;
  std::string index_;
  std::optional<std::string> reference_;
};

/// The name and tag under which engines list the image: `namespace/name:version`, with "_" for the "+" of a version,
/// which a tag can't have. Nothing for a package without a name, or with one that no image may have.
[[nodiscard]] std::optional<std::string> image_reference(const PackageId& id);

}  // namespace pkgfs
