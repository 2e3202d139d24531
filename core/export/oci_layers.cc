// SPDX-License-Identifier: MIT
#include "core/export/oci_layers.h"

#include <cerrno>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "core/export/byte_sink.h"
#include "core/export/tar_writer.h"
#include "core/export/tree_reader.h"
#include "core/load/nameless_file.h"

namespace pkgfs {

namespace {

constexpr std::size_t kLayerBuffer = 64U << 10U;  // many layers are open at the same time
constexpr const char* kOthers = "other packages";

/// Writes one layer: tar, a hash, gzip if it is asked for, another hash, a nameless file.
class LayerWriter {
 public:
  LayerWriter(LayerForm form, const std::string& directory)
      : file_(nameless_file(directory)),
        file_name_(nameless_file_name(directory)),
        sink_(file_.get(), file_name_, kLayerBuffer),
        packed_(sink_),
        gzip_(form == LayerForm::kGzip ? std::make_unique<GzipSink>(packed_) : nullptr),
        plain_(gzip_ ? static_cast<ByteSink&>(*gzip_) : packed_),
        tar_(plain_) {}

  [[nodiscard]] TarWriter& tar() { return tar_; }

  [[nodiscard]] ImageLayer finish(const std::string& package) {
    tar_.finish();
    if (gzip_) {
      gzip_->finish();
    }
    sink_.flush();
    return {.package = package,
            .digest = packed_.digest(),
            .diff_id = plain_.digest(),
            .size = packed_.size(),
            .file = std::move(file_),
            .file_name = std::move(file_name_)};
  }

 private:
  UniqueFd file_;
  std::string file_name_;
  FileSink sink_;
  HashSink packed_;
  std::unique_ptr<GzipSink> gzip_;
  HashSink plain_;
  TarWriter tar_;
};

class LayerSplitter final : public TreeTarget {
 public:
  LayerSplitter(const PackageTree& tree, TreeReader& reader, LayerForm form, std::string directory)
      : fs_(*tree.file_system),
        root_(tree.id.to_string()),
        reader_(reader),
        form_(form),
        directory_(std::move(directory)) {}

  void enter(const ExportEntry& directory) override {
    check_name(directory);
    const std::optional<std::string> package = package_of(directory);
    way_.push_back({.path = std::string(directory.path), .attributes = directory.attributes, .layers = {}});
    if (package && way_.size() > 1) {
      layer_for(*package, way_.size());
    }
  }

  void file(const ExportEntry& file) override {
    check_name(file);
    TarWriter& tar = layer_for(package_of(file).value_or(root_), way_.size());
    tar.add(file);
    reader_.copy(file, [&tar](std::span<const std::byte> bytes) { tar.content(bytes); });
    tar.end_file();
  }

  void link(const ExportEntry& link, std::string_view target) override {
    check_name(link);
    layer_for(package_of(link).value_or(root_), way_.size()).add_link(link, target);
  }

  void leave(const ExportEntry& /*directory*/) override {
    if (way_.size() > 1 && way_.back().layers.empty()) {
      layer_for(root_, way_.size());  // an empty directory of no package
    }
    way_.pop_back();
  }

  [[nodiscard]] std::vector<ImageLayer> finish() {
    std::vector<ImageLayer> layers;
    for (const auto& [package, writer] : writers_) {
      if (package != root_) {
        layers.push_back(writer->finish(package));
      }
    }
    if (others_) {
      layers.push_back(others_->finish(kOthers));
    }
    if (const auto root = writers_.find(root_); root != writers_.end() || layers.empty()) {
      LayerWriter empty(form_, directory_);  // an image needs a layer
      layers.push_back(root != writers_.end() ? root->second->finish(root_) : empty.finish(root_));
    }
    return layers;
  }

 private:
  /// A directory that the walk is in.
  struct Level {
    std::string path;
    vfs::Attributes attributes;
    std::set<const LayerWriter*> layers;  // that have it
  };

  static void check_name(const ExportEntry& entry) {
    if (entry.name.starts_with(".wh.")) {
      throw Error(ErrorCode::kUnsupported,
                  "\"/" + std::string(entry.path) +
                      "\" can't be in a layer of an image, where a name that begins with \".wh.\" means a deletion");
    }
  }

  [[nodiscard]] std::optional<std::string> package_of(const ExportEntry& entry) {
    Result<vfs::Origin> origin = fs_.origin(entry.inode);
    if (origin && !origin->package.empty()) {
      return std::move(origin->package);
    }
    if (!origin && origin.error() != ENODATA) {
      throw unreadable_entry(entry.path, origin.error());
    }
    return std::nullopt;
  }

  /// The writer of the layer of `package`; that of the root has a place at all times.
  std::unique_ptr<LayerWriter>& writer_of(const std::string& package) {
    const auto known = writers_.find(package);
    if (known != writers_.end()) {
      return known->second;
    }
    const std::size_t dependencies = writers_.size() - writers_.count(root_);
    const bool is_full = package != root_ && dependencies + 2 >= kMostLayers;  // 2: the others, and the root
    return is_full ? others_ : writers_[package];
  }

  /// The layer of `package`, with the first `depth` directories of the way in it.
  TarWriter& layer_for(const std::string& package, std::size_t depth) {
    std::unique_ptr<LayerWriter>& writer = writer_of(package);
    if (writer == nullptr) {
      writer = std::make_unique<LayerWriter>(form_, directory_);
    }
    for (std::size_t i = 1; i < depth; ++i) {  // not the root, which the runtime makes
      Level& level = way_[i];
      if (level.layers.insert(writer.get()).second) {
        writer->tar().add({.path = level.path, .name = {}, .inode = 0, .attributes = level.attributes});
      }
    }
    return writer->tar();
  }

  vfs::FileSystem& fs_;
  std::string root_;
  TreeReader& reader_;
  LayerForm form_;
  std::vector<Level> way_;
  std::string directory_;
  std::map<std::string, std::unique_ptr<LayerWriter>> writers_;
  std::unique_ptr<LayerWriter> others_;  // of the packages without a layer of their own
};

}  // namespace

std::vector<ImageLayer> make_layers(const PackageTree& tree, LayerForm form, const std::string& directory) {
  TreeReader reader(*tree.file_system);
  LayerSplitter splitter(tree, reader, form, directory);
  reader.run(splitter);
  return splitter.finish();
}

}  // namespace pkgfs
