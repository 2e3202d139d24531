// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/oci/reference.h"
#include "core/package/package_info.h"

namespace pkgfs {

class AddressPolicy;

/// Decides which dependencies a package may name (docs/rules/resolution.md, 7.7). A package that lies on this machine
/// may name any dependency. A package from a registry or a URL comes from a stranger. It may name no path of this
/// machine, and only URLs at its own server or at a registry's. A package of an artifact in an OCI registry may name
/// anything, because all its dependencies are packages of the same artifact: no other source is asked for them.
class Reach {
 public:
  struct Options {
    std::vector<std::string> registries;          // endpoints
    std::vector<std::string> directories = {};    // registries on this machine
    bool allow_urls = false;                      // packages of strangers may name URLs of any server
    bool untrusted = false;                       // a package on this machine counts as one from a stranger
    std::optional<oci::Reference> artifact = {};  // the artifact that the user named, if PACKAGE is one
  };

  /// `addresses` gets the URLs that packages may name. It may be null, and must outlive this.
  Reach(Options options, AddressPolicy* addresses) : options_(std::move(options)), addresses_(addresses) {}

  /// Whether the package at `dist` lies on this machine, and isn't one of a stranger.
  [[nodiscard]] bool trusts(const DistributionInfo& dist) const;
  /// Why the package at `from` may not depend on `wanted`; nothing if it may.
  [[nodiscard]] std::optional<std::string> refusal(const DistributionInfo& from, const PackageSpecifier& wanted) const;
  /// Why a lock file may not have a package at `locked`; nothing if it may. The lock file may come from a stranger. So
  /// from now on, a file that it names counts as a package of a stranger. A file in a registry on this machine is an
  /// exception. So is any file with `by_path`, because then the user or a package names its path. Tells the address
  /// policy which registry announced a URL.
  [[nodiscard]] std::optional<std::string> refusal_of_lock(const DistributionInfo& locked, bool by_path);

 private:
  [[nodiscard]] bool is_near(const std::string& from, const std::string& url) const;
  [[nodiscard]] bool is_in_registry(const std::string& path) const;
  /// `refusal_of_lock` for a package of an artifact.
  [[nodiscard]] std::optional<std::string> refusal_of_blob(const DistributionInfo& locked) const;

  Options options_;
  std::set<std::string> claimed_;  // URLs of files that only a lock file names
  AddressPolicy* addresses_;
};

/// Whether the package is one of an artifact in an OCI registry. Then `DistributionInfo::registry` names the artifact.
[[nodiscard]] bool is_of_artifact(const DistributionInfo& dist);

/// Whether the package lies on this machine, and isn't a copy of a download.
[[nodiscard]] bool is_local(const DistributionInfo& dist);

}  // namespace pkgfs
