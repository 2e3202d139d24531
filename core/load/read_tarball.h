// SPDX-License-Identifier: MIT
#pragma once

#include <memory>

#include "core/base/byte_source.h"
#include "core/load/archive_tree.h"
#include "core/load/unpack_limit.h"

namespace pkgfs {

/// Reads a gzip'd tar into memory and a nameless file; nothing is unpacked to names. Reads and checks the whole file,
/// as GzipStream does. Throws Error(kCorrupt) for a damaged archive and for what is refused: absolute names, `..`,
/// links that lead out, names that pass through a link, devices, FIFOs and sockets. Throws Error(kUnsupported) for more
/// bytes than `limit` allows, holes and hard links included, and for more entries than it
/// allows, or more levels than limits::kTarballDepth. A later entry replaces an earlier one of its name. Directories
/// without an entry have no time. Modified times are kept in whole seconds; modes and owners are dropped.
[[nodiscard]] std::unique_ptr<const ArchiveTree> read_tarball(const ByteSource& archive,
                                                              const UnpackLimit& limit = UnpackLimit());

}  // namespace pkgfs
