// SPDX-License-Identifier: MIT
#pragma once

#include <memory>

#include "core/base/byte_source.h"
#include "core/load/archive_tree.h"
#include "core/load/unpack_limit.h"

namespace pkgfs {

/// Reads a gzip'd tar: the list of its entries into memory, and its bytes into a nameless file. No file gets a name on
/// the disk. The whole archive is read and checked, as GzipStream does.
///
/// Throws Error(kCorrupt) for a damaged archive, and for entries that are refused. Those are absolute names, `..`,
/// links that lead out, and names that pass through a link or a file. Names of more than limits::kTarballDepth levels,
/// devices, FIFOs and sockets are refused, too. So are files and links in the place of a directory. Throws
/// Error(kUnsupported) for more bytes or entries than `limit` allows. Holes and hard links count with all their bytes.
///
/// A later file or link replaces an earlier one of its name. A directory without an entry of its own has no time.
/// Modified times are kept in whole seconds; modes and owners are dropped.
[[nodiscard]] std::unique_ptr<const ArchiveTree> read_tarball(const ByteSource& archive,
                                                              const UnpackLimit& limit = UnpackLimit());

}  // namespace pkgfs
