// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"
#include "core/load/package.h"
#include "core/package/wasmer_toml.h"

namespace pkgfs {

struct DirectoryOptions {
  /// Leave out what a build would leave out (ignore_rules.h).
  bool as_built = false;
  /// What messages call the directory, when that isn't its path.
  std::optional<std::string> display_name;
  /// The manifest's name inside the directory.
  std::string manifest_name = "wasmer.toml";
};

/// A directory with a `wasmer.toml`, served live (webc-format.md 12): the manifest and the modules are read when it is
/// opened, the mapped host directories whenever they are looked at.
///
/// A host path may lead out of the directory by its own text (`../web`, `/srv/web`), with a warning, as in the
/// reference; a symbolic link may not. What is opened stays opened: it can't be exchanged while it is mounted.
class DirectoryPackage final : public Package {
 public:
  /// A host path of `[fs]`. Several guests may share one.
  struct HostVolume {
    std::string name;  // sanitized
    std::string host;  // as written, for messages
    UniqueFd fd;       // of a directory, with O_PATH, or of a regular file, for reading
    bool is_file = false;
  };
  /// A file of the volume `metadata`.
  struct MetadataFile {
    std::string path;  // absolute, in the volume
    Blob body;
    std::int64_t modified = 0;
  };

  /// Use `open_directory_package`.
  DirectoryPackage(const std::string& path, const DirectoryOptions& options);

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] int webc_version() const override { return 3; }
  [[nodiscard]] const webc::Manifest& manifest() const override { return manifest_; }
  /// SHA-256 of the text of the canonical path (webc-format.md 9).
  [[nodiscard]] const PackageHash& hash() const override { return *hash_; }
  [[nodiscard]] const std::vector<webc::Atom>& atoms() const override { return atoms_; }
  [[nodiscard]] std::vector<std::string> volume_names() const override;
  [[nodiscard]] std::unique_ptr<vfs::FileSystem> open_volume(std::string_view name) const override;

  /// Sorted by name.
  [[nodiscard]] const std::vector<HostVolume>& host_volumes() const { return host_volumes_; }
  /// Sorted by path.
  [[nodiscard]] const std::vector<MetadataFile>& metadata_files() const { return metadata_files_; }

 private:
  [[nodiscard]] std::string display(const std::string& path) const { return name_ + "/" + path; }
  [[nodiscard]] PackageFiles package_files() const;
  [[nodiscard]] UniqueFd open_file(const std::string& path) const;
  [[nodiscard]] std::string read_file(const std::string& path, std::uint64_t limit) const;
  void open_host_volumes(const WasmerToml& toml);
  void map_modules(const WasmerToml& toml);
  void map_metadata(const WasmerToml& toml);

  std::string name_;
  std::string canonical_path_;
  UniqueFd fd_;
  bool as_built_;
  webc::Manifest manifest_;
  std::optional<PackageHash> hash_;
  std::vector<webc::Atom> atoms_;
  std::vector<HostVolume> host_volumes_;
  std::vector<MetadataFile> metadata_files_;
};

/// Opens the directory at `path`. Throws Error with the reference's texts: `Unable to get the absolute path for …`,
/// `Unable to deserialize …`, `Path: "…" does not exist`, `Unable to load the "wasmer.toml" manifest`.
[[nodiscard]] std::shared_ptr<const DirectoryPackage> open_directory_package(const std::string& path,
                                                                             const DirectoryOptions& options = {});

}  // namespace pkgfs
