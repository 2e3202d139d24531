// SPDX-License-Identifier: MIT
#pragma once

#include <memory>

#include "core/base/byte_source.h"
#include "core/load/package.h"

namespace pkgfs {

/// Opens a gzip'd tar of a package directory (docs/rules/webc-format.md, 12.6). Reads it once into memory and a
/// nameless file, and packs that into a version 3 container in another; no file is unpacked. The package has the name
/// of `archive`, and its hash is that of the archive's bytes. Throws Error `Unable to extract the tarball` or `Unable
/// to find the "wasmer.toml"`, and what a directory package throws. Unlike a directory's, its paths may not lead out.
/// OpenOptions::max_unpacked and the limit of entries apply to the packed container as well, since volumes may
/// overlap.
[[nodiscard]] std::shared_ptr<const Package> open_tarball(const ByteSource& archive, const OpenOptions& options);

}  // namespace pkgfs
