// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/hash.h"

/// The documents of a package in an OCI registry (docs/OCI.md has them byte for byte).
namespace pkgfs::oci {

inline constexpr std::string_view kPackageType = "application/vnd.pkgfs.package.v1";      // of the artifact
inline constexpr std::string_view kLockType = "application/vnd.pkgfs.lock.v1+json";       // of its configuration
inline constexpr std::string_view kContainerType = "application/vnd.pkgfs.container.v1";  // of a layer
inline constexpr std::string_view kManifestType = "application/vnd.oci.image.manifest.v1+json";

/// The most bytes of a manifest that registries must accept (OCI distribution-spec 1.1, "Pushing manifests").
inline constexpr std::uint64_t kManifestBytes = 4ULL << 20U;

/// Types of documents that a registry may have under a tag: it is asked for all, so that a message can say what is
/// there.
inline constexpr std::string_view kAccepted =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json";

/// Describes a blob (OCI image-spec 1.1, descriptor.md).
struct Descriptor {
  std::string media_type;
  Sha256 digest{};
  std::uint64_t size = 0;  // in bytes
  std::string title = {};  // the name of the file, for users; may be empty
};

/// The manifest of a package: its lock file, and its containers.
struct Manifest {
  Descriptor lock;
  std::vector<Descriptor> containers;  // one for each hash
  std::string id;                      // of the package, for users
  std::string name;                    // its full name; empty if it has none
  std::string version;                 // the same
};

/// The JSON text. The same manifest gives the same bytes.
[[nodiscard]] std::string print_manifest(const Manifest& manifest);
/// Parses the manifest of a package. Throws Error(kUnsupported) that says what `text` describes if that isn't a
/// package, for example a container image. Throws Error(kCorrupt) for anything malformed. Only `lock` and `containers`
/// are filled.
[[nodiscard]] Manifest parse_manifest(std::string_view text);

}  // namespace pkgfs::oci
