// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/hash.h"
#include "core/base/unique_fd.h"
#include "core/load/followed_package.h"
#include "core/load/package.h"
#include "core/load/package_directory.h"

namespace pkgfs {

struct DirectoryOptions {
  /// Hide the files that a build leaves out (ignore_rules.h).
  bool as_built = false;
  /// The time of the directories of the volume `metadata`, which aren't directories of the host.
  vfs::Times times = vfs::Times::kStored;
  /// Paths of the manifest may lead out of the directory (outside.h).
  bool allow_outside = false;
  /// As in OpenOptions.
  bool follow_manifest = false;
};

/// A directory with a `wasmer.toml`, served live (docs/rules/webc-format.md, 12). The manifest and the modules are read
/// when the package is opened. The mapped host directories are read whenever a reader looks at them.
///
/// No path of the manifest may lead out of the directory, unless DirectoryOptions::allow_outside is set (outside.h).
/// A mapped directory inside the package is followed when it is made anew (MappedWay), and so is the package's
/// directory itself (FollowedPackage). The descriptors of all others stay what they are.
class DirectoryPackage final : public Package {
 public:
  /// The volume for a host path of `[fs]`. Several guest paths may share it.
  struct HostVolume {
    std::string name;  // the sanitized host path
    std::string host;  // the host path as written, for messages
    UniqueFd fd;       // of a directory, with O_PATH, or of a regular file, for reading
    bool is_file = false;
  };

  /// What another process needs to show the package as this one does, although the files of its directory may have
  /// changed. The descriptors are owned by the package.
  struct Kept {
    struct File {
      std::string name;  // of the atom, or the path in the volume `metadata`
      int fd = -1;
      std::uint64_t size = 0;
      std::int64_t modified = 0;
      std::optional<std::uint16_t> mode;
    };
    struct Volume {
      std::string name;
      std::string host;
      int fd = -1;
      bool is_file = false;
    };
    std::string name;
    std::string canonical;
    std::string manifest_hash;  // in hexadecimal digits
    webc::Json manifest;
    int directory = -1;
    std::vector<Volume> volumes;
    std::vector<File> atoms;
    std::vector<File> metadata;
  };
  [[nodiscard]] Kept keep() const;

  /// Use `open_directory_package`, `adopt_directory_package` or `reopen`.
  DirectoryPackage(const std::string& path, const DirectoryOptions& options);
  DirectoryPackage(const Kept& kept, const DirectoryOptions& options);
  DirectoryPackage(const DirectoryPackage& before, UniqueFd directory, std::uint64_t own_device);
  /// The package as its directory is now, wherever FollowedPackage finds it. `own_device` is that of the mount that
  /// shows the package: throws Error(kUsage) if a path of the manifest leads into it, because the daemon would wait for
  /// itself. Else throws as `open_directory_package`.
  [[nodiscard]] std::shared_ptr<const DirectoryPackage> reopen(std::uint64_t own_device) const;

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] int webc_version() const override { return 3; }
  [[nodiscard]] const webc::Manifest& manifest() const override { return parts_.manifest; }
  /// SHA-256 of the text of the canonical path (docs/rules/webc-format.md, 9).
  [[nodiscard]] const PackageHash& hash() const override { return *hash_; }
  [[nodiscard]] const std::vector<webc::Atom>& atoms() const override { return parts_.atoms; }
  [[nodiscard]] std::vector<std::string> volume_names() const override;
  [[nodiscard]] std::unique_ptr<vfs::FileSystem> open_volume(std::string_view name) const override;
  /// A package and the one that it was opened from anew agree on followed directories, and on other directories and
  /// files that are still the same.
  [[nodiscard]] std::string volume_key(std::string_view name) const override;

  [[nodiscard]] const FollowedPackage& followed() const { return *followed_; }
  /// The hash of the `wasmer.toml` that was read.
  [[nodiscard]] const Sha256& manifest_hash() const { return manifest_hash_; }
  /// Sorted by name.
  [[nodiscard]] const std::vector<HostVolume>& host_volumes() const { return host_volumes_; }
  [[nodiscard]] const PackageParts& parts() const { return parts_; }

 private:
  /// Reads everything from `fd_`. `canonical` is its path.
  void load(const std::string& canonical);
  void open_host_volumes(const WasmerToml& toml, const PackageDirectory& directory);

  std::string name_;
  std::string canonical_;
  UniqueFd fd_;
  DirectoryOptions options_;
  std::uint64_t own_device_ = 0;  // 0: not mounted yet
  std::optional<PackageHash> hash_;
  PackageParts parts_;
  std::vector<HostVolume> host_volumes_;
  std::shared_ptr<const FollowedPackage> followed_;
  Sha256 manifest_hash_{};
};

/// Opens the directory at `path`. Throws Error with the reference's texts: `Unable to get the absolute path for …`,
/// `Unable to deserialize …`, `Path: "…" does not exist`, `Unable to load the "wasmer.toml" manifest`.
[[nodiscard]] std::shared_ptr<const DirectoryPackage> open_directory_package(const std::string& path,
                                                                             const DirectoryOptions& options = {});

/// The package that an earlier process had opened. Takes over the descriptors of `kept`. A mapped directory that was
/// made anew since is followed at once. Throws Error.
[[nodiscard]] std::shared_ptr<const DirectoryPackage> adopt_directory_package(const DirectoryPackage::Kept& kept,
                                                                              const DirectoryOptions& options);

}  // namespace pkgfs
