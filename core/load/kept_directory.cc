// SPDX-License-Identifier: MIT
// How a DirectoryPackage goes over to another process.
#include <algorithm>
#include <utility>

#include "core/base/error.h"
#include "core/load/directory_package.h"
#include "core/load/host_path.h"

namespace pkgfs {
namespace {

DirectoryPackage::Kept::File kept_file(std::string name, const Blob& body, std::int64_t modified,
                                       std::optional<std::uint16_t> mode) {
  const auto* const file = dynamic_cast<const MappedFile*>(body.source.get());
  return {.name = std::move(name),
          .fd = file == nullptr ? -1 : file->fd(),
          .size = body.length,
          .modified = modified,
          .mode = mode};
}

/// A file that a program has made shorter meanwhile has fewer bytes.
Blob adopted_file(const DirectoryPackage::Kept::File& kept, const std::string& package) {
  const std::shared_ptr<const ByteSource> file =
      MappedFile::adopt(UniqueFd(kept.fd), package + "/" + kept.name, MappedFile::Changes::kAllowed);
  return {.source = file, .offset = 0, .length = std::min<std::uint64_t>(kept.size, file->size())};
}

}  // namespace

DirectoryPackage::Kept DirectoryPackage::keep() const {
  Kept kept{.name = name_,
            .canonical = canonical_,
            .manifest_hash = to_hex(manifest_hash_),
            .manifest = parts_.manifest.to_json(),
            .directory = fd_.get(),
            .volumes = {},
            .atoms = {},
            .metadata = {}};
  for (const HostVolume& volume : host_volumes_) {
    kept.volumes.push_back(
        {.name = volume.name, .host = volume.host, .fd = volume.fd.get(), .is_file = volume.is_file});
  }
  for (const webc::Atom& atom : parts_.atoms) {
    kept.atoms.push_back(kept_file(atom.name, atom.body, 0, atom.mode));
  }
  for (const MetadataFile& file : parts_.metadata_files) {
    kept.metadata.push_back(kept_file(file.path, file.body, file.modified, file.mode));
  }
  return kept;
}

DirectoryPackage::DirectoryPackage(const Kept& kept, const DirectoryOptions& options)
    : name_(kept.name),
      canonical_(kept.canonical),
      fd_(kept.directory),
      options_(options),
      hash_(sha256(kept.canonical)) {
  const std::optional<Sha256> manifest = sha256_from_hex(kept.manifest_hash);
  if (!manifest) {
    throw Error(ErrorCode::kCorrupt, "The hash of the manifest of \"" + name_ + "\" is none");
  }
  manifest_hash_ = *manifest;
  followed_ = std::make_shared<FollowedPackage>(fd_.get(), canonical_, name_, manifest_hash_, true);
  parts_.manifest = webc::manifest_from_json(kept.manifest);
  for (const Kept::Volume& volume : kept.volumes) {
    HostVolume opened{.name = volume.name, .host = volume.host, .fd = UniqueFd(volume.fd), .is_file = volume.is_file};
    if (!opened.is_file && !HostPath::parse(opened.host).leaves()) {
      if (UniqueFd now = MappedWay(followed_, opened.host, {}).open()) {
        opened.fd = std::move(now);
      }
    }
    host_volumes_.push_back(std::move(opened));
  }
  for (const Kept::File& atom : kept.atoms) {
    parts_.atoms.push_back({.name = atom.name, .body = adopted_file(atom, name_), .mode = atom.mode});
  }
  for (const Kept::File& file : kept.metadata) {
    parts_.metadata_files.push_back(
        {.path = file.name, .body = adopted_file(file, name_), .modified = file.modified, .mode = file.mode});
  }
}

std::shared_ptr<const DirectoryPackage> adopt_directory_package(const DirectoryPackage::Kept& kept,
                                                                const DirectoryOptions& options) {
  return std::make_shared<DirectoryPackage>(kept, options);
}

}  // namespace pkgfs
