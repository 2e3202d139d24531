// SPDX-License-Identifier: MIT
#include "core/tree/package_view.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "core/base/limits.h"
#include "core/vfs/digest_time.h"
#include "core/vfs/path_text.h"
#include "core/vfs/static_file_system.h"
#include "core/vfs/union_file_system.h"

namespace pkgfs {

namespace {

constexpr std::string_view kMetadata = "metadata";
constexpr std::string_view kAlways = "/%";

/// `name` with "%" and two hex digits in place of control characters and of those in `replaced`.
std::string encoded(std::string_view name, std::string_view replaced) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string text;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F || replaced.find(c) != std::string_view::npos) {
      text += {'%', kDigits[byte >> 4U], kDigits[byte & 15U]};
    } else {
      text += c;
    }
  }
  if (text.size() > limits::kNameBytes) {
    constexpr std::size_t kHashDigits = 32;
    constexpr std::string_view kMark = "%~";  // no other "%" is followed by "~"
    text.resize(limits::kNameBytes - kMark.size() - kHashDigits);
    text.append(kMark).append(to_hex(sha256(name)).substr(0, kHashDigits));
  }
  return text.empty() ? "%" : text;
}

/// The directory below `/volumes` that shows the volume `name`. Most names of version 3 begin with "/", which is left
/// out unless that is the name of another volume.
std::string volume_directory(const std::string& name, const std::set<std::string>& names) {
  const bool shorter = name.size() > 1 && name.front() == '/' && !names.contains(name.substr(1));
  return to_file_name(shorter ? std::string_view(name).substr(1) : std::string_view(name));
}

/// The directory that shows a dependency: `/packages/namespace/name@version`, `/packages/name@version` or
/// `/packages/sha256:…`. A namespace has neither "@" nor ":", so that no two of them meet.
std::string package_directory(const PackageId& id) {
  const std::string text = id.to_string();
  const std::size_t slash = id.named() == nullptr ? std::string::npos : id.named()->full_name.find('/');
  if (slash == std::string::npos) {
    return "/packages/" + to_file_name(text);
  }
  const std::string space = text.substr(0, slash);
  const bool dots = space == "." || space == "..";
  return "/packages/" + encoded(space, dots ? "/%@:." : "/%@:") + "/" + to_file_name(text.substr(slash + 1));
}

/// The hash that the manifest states for an atom; nothing if it has none that can be read.
std::optional<Sha256> stated_hash(const webc::AtomEntry* entry) {
  static constexpr std::string_view kPrefix = "sha256:";
  if (entry == nullptr || !entry->signature.starts_with(kPrefix)) {
    return std::nullopt;
  }
  const auto raw = base64_decode(std::string_view(entry->signature).substr(kPrefix.size()));
  Sha256 digest{};
  if (!raw || raw->size() != digest.size()) {
    return std::nullopt;
  }
  std::ranges::transform(*raw, digest.begin(), [](char c) { return static_cast<std::uint8_t>(c); });
  return digest;
}

Blob manifest_text(const Package& package) {
  const webc::Json json = package.container() == nullptr ? package.manifest().to_json()
                                                         : webc::parse_cbor(package.container()->manifest_bytes());
  const std::string text = json.dump(2, ' ', false, webc::Json::error_handler_t::replace) + "\n";
  const auto bytes = std::as_bytes(std::span(text));
  auto source =
      std::make_shared<MemoryBytes>(package.name() + " (manifest)", std::vector<std::byte>(bytes.begin(), bytes.end()));
  return {.source = std::move(source), .offset = 0, .length = text.size()};
}

class ViewBuilder {
 public:
  explicit ViewBuilder(const TreeOptions& options) : options_(options) {}

  void add(const PackageId& id, const Package& package, const std::string& directory) {
    const vfs::Label label = std::function<std::string()>([id] { return id.to_string(); });
    const bool digest = options_.times == vfs::Times::kDigest;
    const std::int64_t time = digest ? vfs::digest_time(package.header_digest()) : 1;
    std::map<std::string_view, const webc::AtomEntry*> entries;
    for (const webc::AtomEntry& entry : package.manifest().atoms) {
      entries.emplace(entry.name, &entry);
    }
    for (const webc::Atom& atom : package.atoms()) {
      const auto entry = entries.find(atom.name);
      const auto hash = stated_hash(entry == entries.end() ? nullptr : entry->second);
      files_.push_back({.path = directory + "/atoms/" + to_file_name(atom.name),
                        .content = atom.body,
                        .mode = atom.mode.value_or(0755),
                        .modified = digest && hash ? vfs::digest_time(std::as_bytes(std::span(*hash))) : time,
                        .sha256 = hash,
                        .package = label});
    }
    files_.push_back(
        {.path = directory + "/manifest.json", .content = manifest_text(package), .modified = time, .package = label});
    add_volumes(id, package, directory, label);
  }

  LoadedFileSystem finish(std::int64_t directory_time) {
    mounts_.push_back({.fs = std::make_unique<vfs::StaticFileSystem>(std::move(files_), directory_time),
                       .package = "",
                       .volume = "package"});
    return {.mappings = std::move(mappings_),
            .file_system = vfs::make_union_file_system(std::move(mounts_),
                                                       {.raw_links = options_.raw_links,
                                                        .refuses_escapes = options_.refuses_escapes,
                                                        .synthetic_modified = directory_time,
                                                        .memory = options_.memory,
                                                        .replaceable = options_.replaceable,
                                                        .first_number = options_.first_number},
                                                       options_.strict)};
  }

 private:
  void add_volumes(const PackageId& id, const Package& package, const std::string& directory, const vfs::Label& label) {
    const std::vector<std::string> all = package.volume_names();
    std::set<std::string> names(all.begin(), all.end());
    names.erase(std::string(kMetadata));
    for (const std::string& name : all) {
      auto volume = package.open_volume(name);
      if (volume == nullptr) {
        continue;
      }
      const std::string path =
          name == kMetadata ? directory + "/metadata" : directory + "/volumes/" + volume_directory(name, names);
      const bool live = package.is_live() && name != kMetadata;
      mounts_.push_back({.fs = std::move(volume),
                         .mount_path = path,
                         .package = label,
                         .volume = name,
                         .live = live,
                         .key = package.volume_key(name)});
      mappings_.push_back({.mount_path = path, .volume_name = name, .source_path = "/", .package = id, .live = live});
    }
  }

  const TreeOptions& options_;
  std::vector<vfs::StaticFile> files_;
  std::vector<vfs::Mount> mounts_;
  std::vector<LoadedMapping> mappings_;
};

}  // namespace

std::string to_file_name(std::string_view name) { return encoded(name, name == "." || name == ".." ? "." : kAlways); }

LoadedFileSystem build_package_view(const Resolution& resolution, const LoadedPackages& packages,
                                    const TreeOptions& options, std::int64_t directory_time) {
  ViewBuilder builder(options);
  const PackageId& root = resolution.package.root;
  builder.add(root, *packages.at(root), "");
  for (const auto& [id, package] : packages) {
    if (id != root) {
      builder.add(id, *package, package_directory(id));
    }
  }
  return builder.finish(directory_time);
}

}  // namespace pkgfs
