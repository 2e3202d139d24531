// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/hash.h"
#include "core/package/package_id.h"
#include "core/package/package_specifier.h"

namespace pkgfs::webc {
struct Manifest;
}

namespace pkgfs {

/// A volume that a package mounts at a path (docs/rules/resolution.md, 3.1).
struct FileSystemMapping {
  std::string volume_name;
  std::string mount_path;                      // as written; not normalised
  std::optional<std::string> original_path;    // the directory inside the volume
  std::optional<std::string> dependency_name;  // alias of the package that owns the volume; none: the declaring one
};

/// One `use` entry.
struct DependencySpec {
  std::string alias;
  PackageSpecifier specifier;
};

/// The properties of a package that the resolver uses.
struct PackageInfo {
  PackageId id;
  std::vector<std::string> commands;  // in manifest order
  std::optional<std::string> entrypoint;
  std::vector<DependencySpec> dependencies;  // in `use` order
  std::vector<FileSystemMapping> filesystem;
};

/// The location of a package's container.
struct DistributionInfo {
  std::string url;                    // `file://…` or http(s); text for messages
  std::optional<std::string> path;    // set when it is a local file or directory: opened in place
  std::optional<Sha256> webc_sha256;  // as the source states it; none: unknown
  bool is_hash_safe = true;           // false: the hash came over a connection without encryption
  /// The registry that has the package under its id: a directory, or a URL without a password. None: the package gives
  /// the id to itself.
  std::optional<std::string> registry = {};
  /// What readers of lazy mounts needed of the container, as a lock file has it (core/lazy/access_profile.h). Empty:
  /// unknown.
  std::string profile = {};
  /// Of a container that is only named by its URL: what tells the file at the URL from another one that the server may
  /// have there later (ContainerFetcher::version_of). Empty: unknown.
  std::string version = {};
};

/// A package as a Source reports it.
struct PackageSummary {
  PackageInfo pkg;
  DistributionInfo dist;
};

/// The id that a container gives itself: `wapm` name and version (`0.0.0` if missing), else `hash`
/// (docs/rules/resolution.md, 3.2). Throws for a version that isn't semver or a malformed annotation.
[[nodiscard]] PackageId id_from_manifest(const webc::Manifest& manifest, const PackageHash& hash);

/// The properties that the manifest of a container states (docs/rules/resolution.md, 3.2). `webc_version` is 1, 2 or 3.
/// With version 1 or 2, a missing `fs` annotation stands for the volume `atom` at `/`. With version 3, it stands for
/// nothing. Throws for malformed annotations and dependencies.
[[nodiscard]] PackageInfo info_from_manifest(PackageId id, const webc::Manifest& manifest, int webc_version);
/// The same, and frees the `fs` annotation, so that a registry's answer takes less memory.
[[nodiscard]] PackageInfo info_from_manifest(PackageId id, webc::Manifest&& manifest, int webc_version);

/// A guest or host path of `[fs]`, cleaned (docs/rules/webc-format.md, 12.2). The result is absolute. A `.` is dropped;
/// a `..` removes the name before it, but never leads above `/`.
[[nodiscard]] std::string sanitize_path(std::string_view path);

/// A mount path of a mapping as an absolute lexically normal path (docs/rules/loading.md, 5.4 step 2). Throws
/// Error(kLoad) `Invalid guest mount path "{p}": …` when it climbs above `/` or holds a NUL.
[[nodiscard]] std::string normalize_mount_path(std::string_view path);

}  // namespace pkgfs
