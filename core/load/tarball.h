// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>

#include "core/base/byte_source.h"
#include "core/load/package.h"

namespace pkgfs {

/// Opens a gzip'd tar of a package directory (webc-format.md 12.6): unpacks it to a directory of its own below $TMPDIR,
/// packs that into a version 3 container in a file without a name, and removes the directory. The package is named like
/// `archive`, and its hash is that of the archive's bytes. Throws Error `Unable to extract the tarball` or
/// `Unable to find the "wasmer.toml"`, and what a directory package throws.
[[nodiscard]] std::shared_ptr<const Package> open_tarball(std::shared_ptr<const MappedFile> archive,
                                                          const OpenOptions& options);

/// Unpacks `archive` below the empty directory `directory` (a descriptor). Refused, as Error: absolute names, `..`,
/// links that lead out, names that pass through a link, devices, FIFOs and sockets, and more bytes or entries than
/// limits::kTarballBytes and kTarballEntries. Modified times are kept in whole seconds; modes and owners aren't.
void unpack_tarball(const ByteSource& archive, int directory);

}  // namespace pkgfs
