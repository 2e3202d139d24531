// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/load/package.h"
#include "core/vfs/webc_volume_file_system.h"

namespace pkgfs {

/// A package in a container of any version. The volumes are read straight from the container's bytes.
class ContainerPackage final : public Package {
 public:
  /// `hash` identifies the package if it has no name. Without `hash`, the SHA-256 of the container's bytes identifies
  /// it, and is computed on first use. Checks the container as `options.verify` and `options.strict` say. Throws
  /// Error(kCorrupt) with the first problems.
  ContainerPackage(std::string name, std::shared_ptr<const webc::Container> container, std::optional<PackageHash> hash,
                   const OpenOptions& options);
  /// Replaces the dependencies of the manifest by `use`. For a container that was just packed from a tarball: in its
  /// manifest, specifiers have lost their build metadata (Dependency::as_written).
  void set_dependencies(std::vector<webc::Dependency> use);

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] int webc_version() const override { return static_cast<int>(container_->version()); }
  [[nodiscard]] const webc::Manifest& manifest() const override {
    return manifest_ ? *manifest_ : container_->manifest();
  }
  [[nodiscard]] const PackageHash& hash() const override { return hash_; }
  [[nodiscard]] const std::vector<webc::Atom>& atoms() const override { return atoms_; }
  [[nodiscard]] std::vector<std::string> volume_names() const override;
  [[nodiscard]] std::unique_ptr<vfs::FileSystem> open_volume(std::string_view name) const override;
  [[nodiscard]] const webc::Container* container() const override { return container_.get(); }
  [[nodiscard]] const limits::PackageLimits& limits() const override { return limits_; }

 private:
  std::string name_;
  std::shared_ptr<const webc::Container> container_;
  std::optional<webc::Manifest> manifest_;  // instead of the container's
  PackageHash hash_;
  std::vector<webc::Atom> atoms_;
  const limits::PackageLimits& limits_;
  vfs::VolumeOptions volume_options_;
};

}  // namespace pkgfs
