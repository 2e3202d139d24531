// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/byte_source.h"
#include "core/base/hash.h"
#include "core/package/wasmer_toml.h"
#include "core/webc/container.h"

namespace pkgfs {

inline constexpr std::uint64_t kTomlBytes = 16ULL << 20U;  // a person writes a wasmer.toml, so a larger one is refused

/// The directory that a package is made from, on a disk or in an archive. Gives access to the files that its
/// `wasmer.toml` names.
class PackageDirectory {
 public:
  struct File {
    Blob body;
    std::int64_t modified = 0;
    /// The permission bits of a file outside of the directory, since the tree shows no more than the host allows. None
    /// for a file inside.
    std::optional<std::uint16_t> mode;
  };

  virtual ~PackageDirectory() = default;
  /// The name for messages.
  [[nodiscard]] virtual const std::string& name() const = 0;
  [[nodiscard]] virtual bool exists(const std::string& path) const = 0;
  /// Throws Error `Unable to read "{name}/{path}"` if the file isn't regular, doesn't exist or can't be read.
  [[nodiscard]] virtual File open(const std::string& path) const = 0;

  /// The content of a file. Throws as `open`, and for a file of more than `limit` bytes.
  [[nodiscard]] std::string read(const std::string& path, std::uint64_t limit) const;
  /// "{name}/{path}".
  [[nodiscard]] std::string display(const std::string& path) const { return name() + "/" + path; }
};

/// A file of the volume `metadata`.
struct MetadataFile {
  std::string path;  // absolute, in the volume
  Blob body;
  std::int64_t modified = 0;
  std::optional<std::uint16_t> mode;  // as in PackageDirectory::File
};

/// The parts of a package except the volumes that `[fs]` maps.
struct PackageParts {
  webc::Manifest manifest;
  std::vector<webc::Atom> atoms;             // sorted by name
  std::vector<MetadataFile> metadata_files;  // sorted by path
};

/// Parses the file `name` of the directory. `hash`, if not null, gets the hash of its text. Throws Error `Unable to
/// deserialize …`, and as `PackageDirectory::read`.
[[nodiscard]] WasmerToml read_package_toml(const PackageDirectory& directory, const std::string& name,
                                           Sha256* hash = nullptr);

/// Derives the manifest from `toml`, and opens the modules and metadata files. Throws Error `Unable to load the
/// "wasmer.toml" manifest`.
[[nodiscard]] PackageParts derive_parts(const WasmerToml& toml, const PackageDirectory& directory);

/// The Error for a file `path` that can't be read.
[[nodiscard]] Error unreadable(const PackageDirectory& directory, const std::string& path, int errnum);
/// The Error for a host path of `[fs]` that can't be mapped.
[[nodiscard]] Error unmappable(const PackageDirectory& directory, const std::string& host, int errnum);

}  // namespace pkgfs
