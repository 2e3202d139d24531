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
  /// `hash` identifies an unnamed package; none: the SHA-256 of the container's bytes, computed on first use.
  /// Checks the container as `options` ask for; throws Error(kCorrupt) with the first problems.
  ContainerPackage(std::string name, std::shared_ptr<const webc::Container> container, std::optional<PackageHash> hash,
                   const OpenOptions& options);
  /// Replaces the dependencies by `use`: those of a container that was packed just now have lost what was written.
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
