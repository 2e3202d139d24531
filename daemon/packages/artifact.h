// SPDX-License-Identifier: MIT
#pragma once

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

/// Finds the artifact that `reference` names, and returns its lock file. `repository` is null when offline.
///
/// `cache` is a directory for manifests and lock files. With a digest in `reference`, pkgfs asks the registry only for
/// what `cache` doesn't have. A tag is asked for each time. If the registry can't be reached, or pkgfs is offline, the
/// manifest that the tag led to last is used, with a warning. Throws Error that names the artifact.
[[nodiscard]] LockFile find_artifact(const oci::Reference& reference, oci::Repository* repository,
                                     const std::string& cache);

}  // namespace pkgfs
