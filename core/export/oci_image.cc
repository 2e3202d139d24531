// SPDX-License-Identifier: MIT
#include "core/export/oci_image.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/export/tar_writer.h"

namespace pkgfs {

namespace {

using nlohmann::json;

constexpr const char* kManifestType = "application/vnd.oci.image.manifest.v1+json";
constexpr const char* kConfigType = "application/vnd.oci.image.config.v1+json";
constexpr const char* kLayerType = "application/vnd.oci.image.layer.v1.tar";
constexpr const char* kGzipLayerType = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A package has no time of its own, and the time of the export would change the digest.
constexpr const char* kCreated = "1970-01-01T00:00:00Z";

std::string dump(const json& document) { return document.dump(-1, ' ', false, json::error_handler_t::replace); }
std::string digest_text(const Sha256& digest) { return "sha256:" + to_hex(digest); }
std::string blob_path(const Sha256& digest) { return "blobs/sha256/" + to_hex(digest); }

json descriptor(const char* type, std::string_view text) {
  return {{"mediaType", type}, {"digest", digest_text(sha256(text))}, {"size", text.size()}};
}

bool is_wasm(const Blob& atom) {
  constexpr std::string_view kMagic{"\0asm", 4};
  const auto bytes = atom.bytes();
  return bytes.size() >= kMagic.size() && std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

/// Whether all commands run the same WebAssembly module: then a runtime handler needs no other file.
bool has_single_module(const PackageTree& tree) {
  if (tree.commands.empty()) {
    return false;
  }
  const Blob& first = tree.commands.front().atom;
  return is_wasm(first) && std::ranges::all_of(tree.commands, [&](const LoadedCommand& command) {
           return command.atom.source == first.source && command.atom.offset == first.offset;
         });
}

/// The texts of a list in the annotation `wasi` of a command; empty if there is no such list.
std::vector<std::string> wasi_list(const LoadedCommand& command, const char* key) {
  std::vector<std::string> texts;
  const auto wasi = command.metadata.annotations.find("wasi");
  if (wasi == command.metadata.annotations.end() || !wasi->is_object()) {
    return texts;
  }
  const auto list = wasi->find(key);
  if (list == wasi->end() || !list->is_array()) {
    return texts;
  }
  for (const auto& item : *list) {
    if (item.is_string()) {
      texts.push_back(item.get<std::string>());
    }
  }
  return texts;
}

/// What the engine starts. Nothing if the package has no entrypoint, or if its commands aren't in the tree.
json runtime_config(const PackageTree& tree, const ImageOptions& options) {
  json config{{"WorkingDir", "/"}};
  if (!options.commands_dir || tree.commands.empty()) {
    return config;
  }
  std::vector<std::string> environment{"PATH=" + *options.commands_dir};
  const std::string* const name = tree.entrypoint             ? &*tree.entrypoint
                                  : tree.commands.size() == 1 ? &tree.commands.front().name
                                                              : nullptr;
  const auto command = std::ranges::find_if(
      tree.commands, [&](const LoadedCommand& each) { return name != nullptr && each.name == *name; });
  if (command != tree.commands.end()) {
    const std::string directory = *options.commands_dir == "/" ? "" : *options.commands_dir;
    std::vector<std::string> arguments{directory + "/" + command->name};
    for (std::string& argument : wasi_list(*command, "main-args")) {
      arguments.push_back(std::move(argument));
    }
    config["Entrypoint"] = arguments;
    for (std::string& variable : wasi_list(*command, "env")) {
      environment.push_back(std::move(variable));
    }
  }
  config["Env"] = environment;
  return config;
}

json image_config(const PackageTree& tree, const ImageOptions& options, const std::vector<ImageLayer>& layers) {
  json diff_ids = json::array();
  json history = json::array();
  for (const ImageLayer& layer : layers) {
    diff_ids.push_back(digest_text(layer.diff_id));
    history.push_back({{"created", kCreated}, {"created_by", "pkgfs export: " + layer.package}});
  }
  return {{"created", kCreated},
          {"architecture", options.architecture},
          {"os", options.os},
          {"config", runtime_config(tree, options)},
          {"rootfs", {{"type", "layers"}, {"diff_ids", diff_ids}}},
          {"history", history}};
}

json image_annotations(const PackageTree& tree) {
  json annotations = json::object();
  if (const NamedId* named = tree.id.named()) {
    annotations["org.opencontainers.image.title"] = named->full_name;
    annotations["org.opencontainers.image.version"] = named->version.to_string();
  }
  if (has_single_module(tree)) {
    annotations["module.wasm.image/variant"] = "compat";  // crun and others take it for a WebAssembly image
  }
  return annotations;
}

/// Calls `consume` with the bytes of a layer, piece by piece.
void copy_layer(const ImageLayer& layer, FunctionRef<void(std::span<const std::byte>)> consume) {
  read_pieces(layer.file.get(), layer.file_name, consume);
}

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

/// One component of the name of an image: runs of letters and digits, with a separator between two: ".", "_", "__", or
/// any number of "-" (OCI distribution-spec 1.0, spec.md, "Pulling manifests"; Docker's reference grammar).
bool is_name_component(std::string_view text) {
  if (text.empty() || !is_lower_or_digit(text.front()) || !is_lower_or_digit(text.back())) {
    return false;
  }
  while (true) {
    text.remove_prefix(static_cast<std::size_t>(std::ranges::find_if_not(text, is_lower_or_digit) - text.begin()));
    const auto end = std::ranges::find_if(text, is_lower_or_digit);
    const std::string_view separator = text.substr(0, static_cast<std::size_t>(end - text.begin()));
    if (separator.empty()) {
      return true;
    }
    if (separator != "." && separator != "_" && separator != "__" &&
        separator.find_first_not_of('-') != std::string_view::npos) {
      return false;
    }
    text.remove_prefix(separator.size());
  }
}

}  // namespace

std::optional<std::string> image_reference(const PackageId& id) {
  constexpr std::size_t kLongestName = 200;
  constexpr std::size_t kLongestTag = 128;
  const NamedId* const named = id.named();
  if (named == nullptr || named->full_name.size() > kLongestName) {
    return std::nullopt;
  }
  std::string_view rest = named->full_name;
  while (true) {
    const std::size_t slash = rest.find('/');
    if (!is_name_component(rest.substr(0, slash))) {
      return std::nullopt;
    }
    if (slash == std::string_view::npos) {
      break;
    }
    rest.remove_prefix(slash + 1);
  }
  std::string tag = named->version.to_string();
  std::ranges::replace(tag, '+', '_');
  if (tag.size() > kLongestTag) {
    return std::nullopt;
  }
  return named->full_name + ":" + tag;
}

OciImage::OciImage(const PackageTree& tree, const ImageOptions& options, LayerForm form)
    : layers_(make_layers(tree, form, options.directory)),
      config_(dump(image_config(tree, options, layers_))),
      reference_(image_reference(tree.id)) {
  json layers = json::array();
  for (const ImageLayer& layer : layers_) {
    layers.push_back({{"mediaType", form == LayerForm::kGzip ? kGzipLayerType : kLayerType},
                      {"digest", digest_text(layer.digest)},
                      {"size", layer.size}});
  }
  json manifest{{"schemaVersion", 2},
                {"mediaType", kManifestType},
                {"config", descriptor(kConfigType, config_)},
                {"layers", layers}};
  if (json annotations = image_annotations(tree); !annotations.empty()) {
    manifest["annotations"] = std::move(annotations);
  }
  manifest_ = dump(manifest);
  json entry = descriptor(kManifestType, manifest_);
  if (reference_) {
    entry["annotations"] = {{"org.opencontainers.image.ref.name", *reference_}};
  }
  index_ =
      dump({{"schemaVersion", 2}, {"mediaType", "application/vnd.oci.image.index.v1+json"}, {"manifests", {entry}}});
}

std::vector<OciImage::File> OciImage::layout_files() const {
  std::vector<File> files{{.path = "oci-layout", .text = R"({"imageLayoutVersion":"1.0.0"})"},
                          {.path = "index.json", .text = index_},
                          {.path = blob_path(sha256(config_)), .text = config_},
                          {.path = blob_path(sha256(manifest_)), .text = manifest_}};
  for (const ImageLayer& layer : layers_) {
    files.push_back({.path = blob_path(layer.digest), .text = {}, .layer = &layer});
  }
  std::ranges::sort(files, {}, &File::path);
  const auto same = std::ranges::unique(files, {}, &File::path);  // two packages may have equal layers
  files.erase(same.begin(), same.end());
  return files;
}

void OciImage::write_archive(const std::vector<File>& files, ByteSink& out) {
  TarWriter tar(out);
  for (const File& file : files) {
    if (file.layer == nullptr) {
      tar.add_file(file.path, file.text);
      continue;
    }
    tar.add_file(file.path, file.layer->size);
    copy_layer(*file.layer, [&tar](std::span<const std::byte> bytes) { tar.content(bytes); });
    tar.end_file();
  }
  tar.finish();
}

void OciImage::write_layout(ByteSink& out) const { write_archive(layout_files(), out); }

void OciImage::write_layout(int directory, const std::string& name) const {
  for (const char* made : {"blobs", "blobs/sha256"}) {
    if (::mkdirat(directory, made, 0777) != 0) {
      throw system_error("Unable to write \"" + name + "/" + made + "\"", errno);
    }
  }
  for (const File& file : layout_files()) {
    const std::string path = name + "/" + file.path;
    const UniqueFd fd(
        ::openat(directory, file.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (!fd) {
      throw system_error("Unable to write \"" + path + "\"", errno);
    }
    FileSink out(fd.get(), path);
    out.write(std::as_bytes(std::span(file.text)));
    if (file.layer != nullptr) {
      copy_layer(*file.layer, [&out](std::span<const std::byte> bytes) { out.write(bytes); });
    }
    out.flush();
  }
}

void OciImage::write_docker_archive(ByteSink& out) const {
  const std::string config = to_hex(sha256(config_)) + ".json";
  json paths = json::array();
  std::vector<File> files;
  std::set<std::string> known;
  for (const ImageLayer& layer : layers_) {
    const std::string path = to_hex(layer.diff_id) + ".tar";
    paths.push_back(path);
    if (known.insert(path).second) {
      files.push_back({.path = path, .text = {}, .layer = &layer});
    }
  }
  json entry{{"Config", config}, {"RepoTags", json::array()}, {"Layers", paths}};
  if (reference_) {
    entry["RepoTags"].push_back(*reference_);
  }
  files.insert(files.begin(),
               {{.path = "manifest.json", .text = dump(json::array({entry}))}, {.path = config, .text = config_}});
  write_archive(files, out);
}

}  // namespace pkgfs
