// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <set>
#include <string>

#include "core/vfs/file_system.h"
#include "fuse/session.h"

namespace pkgfs {

/// Asks the kernel to forget the nodes of a version that isn't shown any more, except those that programs use. Without
/// this, the kernel would keep them until memory gets short. `tree` is that of `generation` (vfs::Generations). Walks
/// the whole tree except for the directories `spared` of its root, but ends early when `stopping` becomes true. May
/// wait in the kernel (fuse::Session::let_go).
void let_go_of(fuse::Session& session, vfs::FileSystem& tree, std::uint64_t generation,
               const std::set<std::string>& spared, const std::atomic<bool>& stopping);

}  // namespace pkgfs
