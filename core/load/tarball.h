// SPDX-License-Identifier: MIT
#pragma once

#include <memory>

#include "core/base/byte_source.h"
#include "core/load/package.h"

namespace pkgfs {

/// Opens a gzip'd tar of a package directory (docs/rules/webc-format.md, 12.6): reads it once into memory and a
/// nameless file, and packs that into a version 3 container in another; nothing is unpacked. The package is named like
/// `archive`, and its hash is that of the archive's bytes. Throws Error `Unable to extract the tarball` or
/// `Unable to find the "wasmer.toml"`, and what a directory package throws. Unlike a directory's, its paths may not
/// lead out. What it packs is held to limits::kTarballBytes and kTarballEntries as well: volumes may overlap.
[[nodiscard]] std::shared_ptr<const Package> open_tarball(std::shared_ptr<const MappedFile> archive,
                                                          const OpenOptions& options);

}  // namespace pkgfs
