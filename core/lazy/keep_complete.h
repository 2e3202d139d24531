// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>

#include "core/base/hash.h"
#include "core/lazy/sparse_file.h"

namespace pkgfs {

class ContainersByHash;
class ContainersByUrl;
class Url;

/// Moves the complete file, which has this hash, into the place of its entry in the cache. Another process that uses
/// the same file may have been faster. Throws Error.
void keep_by_hash(ContainersByHash& packages, const Sha256& hash, SparseFile& complete);

/// Moves the complete file into the place of the entry of `url`, with the validator of its version. Leaves there what a
/// download would leave. If the server has confirmed an entry of another version since `begun`, that entry is newer and
/// stays, and the file is removed. The open file stays usable. Throws Error(kBusy) if another process downloads the
/// file of `url`, and Error.
void keep_by_url(ContainersByUrl& urls, const Url& url, std::chrono::steady_clock::time_point begun,
                 SparseFile& complete);

}  // namespace pkgfs
