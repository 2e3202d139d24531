// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace pkgfs {

class ContainersByHash;

/// Removes entries that no process has open, the longest unused first, until the entries have at most `limit` bytes. An
/// entry that is open would keep its room, and the next mount would fetch it anew. Also removes the containers fetched
/// in parts that no process uses, whatever the limit, as `pkgfs cache prune` does. Logs each removal of an entry.
/// Returns how many bytes that frees.
///
/// Whether an entry is open is known only for those of this user (or for root), and only on a file system with leases
/// (fcntl(2), F_SETLEASE), such as those of local disks. Every other entry stays. If the directory can't be
/// read, nothing is removed.
std::uint64_t evict(ContainersByHash& cache, std::uint64_t limit);

}  // namespace pkgfs
