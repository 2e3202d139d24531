// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace pkgfs {

class ContainersByHash;
class ContainersByUrl;

/// Removes from the cache what no process uses, the longest unused first, until at most `limit` bytes are left: entries
/// of both caches, and the containers fetched in parts (lazy_files.h) of both. What is in use counts, too: it would
/// keep its room, and the next mount would fetch it anew. Logs each removal. Returns how many bytes that frees.
///
/// Whether an entry is open is known only for those of this user (or for root), and only on a file system with leases
/// (fcntl(2), F_SETLEASE), such as those of local disks. Every other entry stays. So does what another process fills at
/// the moment. If a directory can't be read, nothing in it counts or is removed.
std::uint64_t evict(ContainersByHash& packages, ContainersByUrl& urls, std::uint64_t limit);

}  // namespace pkgfs
