// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/byte_source.h"
#include "core/package/wasmer_toml.h"
#include "core/webc/container.h"

namespace pkgfs {

/// The directory that a package is made from, on a disk or in an archive: what its `wasmer.toml` names in it.
class PackageDirectory {
 public:
  struct File {
    Blob body;
    std::int64_t modified = 0;
  };

  virtual ~PackageDirectory() = default;
  /// What messages call it.
  [[nodiscard]] virtual const std::string& name() const = 0;
  [[nodiscard]] virtual bool exists(const std::string& path) const = 0;
  /// Throws Error `Unable to read "{name}/{path}"` for what is no regular file, isn't there or can't be read.
  [[nodiscard]] virtual File open(const std::string& path) const = 0;

  /// The content of a file. Throws as `open`, and when it has more than `limit` bytes.
  [[nodiscard]] std::string read(const std::string& path, std::uint64_t limit) const;
  /// "{name}/{path}".
  [[nodiscard]] std::string display(const std::string& path) const { return name() + "/" + path; }
};

/// A file of the volume `metadata`.
struct MetadataFile {
  std::string path;  // absolute, in the volume
  Blob body;
  std::int64_t modified = 0;
};

/// What a package has beside the volumes that `[fs]` maps.
struct PackageParts {
  webc::Manifest manifest;
  std::vector<webc::Atom> atoms;             // sorted by name
  std::vector<MetadataFile> metadata_files;  // sorted by path
};

/// Parses the file `name` of the directory. Throws Error `Unable to deserialize …`.
[[nodiscard]] WasmerToml read_package_toml(const PackageDirectory& directory, const std::string& name);

/// Throws Error `Unable to load the "wasmer.toml" manifest`.
[[nodiscard]] PackageParts derive_parts(const WasmerToml& toml, const PackageDirectory& directory);

/// `outer`, caused by the operating system's text.
[[nodiscard]] Error os_error(const std::string& outer, int errnum);
/// Why `path` of the directory `name` can't be read.
[[nodiscard]] Error unreadable(const PackageDirectory& directory, const std::string& path, int errnum);
/// Why the host path `host` of `[fs]` can't be mapped.
[[nodiscard]] Error unmappable(const PackageDirectory& directory, const std::string& host, int errnum);

}  // namespace pkgfs
