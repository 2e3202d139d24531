// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/package/package_info.h"

namespace pkgfs {

/// Whether `path` is a regular file that starts with the magic bytes of a container. False if it can't be read.
[[nodiscard]] bool has_container_magic(const std::string& path);

/// The location of a local file: its `file://` URL and absolute path, without a hash.
[[nodiscard]] DistributionInfo local_distribution(const std::string& path);

/// The summary of the container at `path`, from its manifest. A container without a name is identified by its hash,
/// which is computed when the id is first read, not here. Throws Error naming `path`.
[[nodiscard]] PackageSummary container_summary(const std::string& path);
/// The same for a package whose id is `id`, regardless of its manifest.
[[nodiscard]] PackageSummary container_summary(const std::string& path, PackageId id);

}  // namespace pkgfs
