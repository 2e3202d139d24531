// SPDX-License-Identifier: MIT
#pragma once

#include <memory>

#include "core/base/byte_source.h"
#include "core/load/package.h"

namespace pkgfs {

/// Opens a gzip'd tar of a package directory (docs/rules/webc-format.md, 12.6). Reads it into a nameless file
/// (read_tarball.h), and packs that into a version 3 container in another nameless file. The package has the name of
/// `archive`, and its hash is that of the archive's bytes. Throws Error `Unable to extract the tarball` or `Unable to
/// find the "wasmer.toml"`, and the errors of a directory package. Its paths may never lead out, whatever
/// OpenOptions::allow_outside says. The limits of bytes and entries also apply to the container, because the manifest
/// may map the same files several times.
[[nodiscard]] std::shared_ptr<const Package> open_tarball(const ByteSource& archive, const OpenOptions& options);

}  // namespace pkgfs
