// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>

#include "core/oci/reference.h"
#include "core/oci/repository.h"
#include "core/resolve/lock_file.h"
#include "core/resolve/resolve.h"

namespace pkgfs {

/// The lock file that an artifact has as its configuration: the resolution, whose packages are blobs of the artifact.
/// The file names no place outside of the artifact, so the same packages give the same text. Every package of
/// `resolution` must have a hash.
[[nodiscard]] std::string artifact_lock(const Resolution& resolution);

/// Turns that text into a lock file whose packages are at `repository`, an API URL (oci::Reference::api_url), in the
/// artifact `reference`, which has a digest. Throws Error(kCorrupt) if a package isn't one of `manifest`.
[[nodiscard]] LockFile parse_artifact_lock(std::string_view text, const oci::Manifest& manifest,
                                           const oci::Reference& reference, const std::string& repository);

/// Where `find_artifact` keeps manifests and lock files.
struct ArtifactPlace {
  std::string directory;  // of the cache; the directories below it are those of logins
  /// A secret text that is the same only for the same login (RegistryLogins::identity); empty without one. What a
  /// registry showed to a login is never used for another one. It is only read without the registry, so nothing else
  /// would check the login.
  std::string login;
  /// Whether the cache has the container with this hash, so that nothing has to be fetched for it.
  std::function<bool(const Sha256&)> has_container;
  /// For a tag: asks the registry, and fails if it can't be asked.
  bool must_ask = false;
};

/// Finds the artifact that `reference` names, and returns its lock file. `repository` is null when offline.
///
/// With a digest in `reference`, pkgfs asks the registry only for what `place` doesn't have. A tag is asked for each
/// time. If the registry can't be reached, or pkgfs is offline, the manifest that the tag led to last is used, with a
/// warning, unless `place` forbids that. Throws Error that names the artifact.
[[nodiscard]] LockFile find_artifact(const oci::Reference& reference, oci::Repository* repository,
                                     const ArtifactPlace& place);

}  // namespace pkgfs
