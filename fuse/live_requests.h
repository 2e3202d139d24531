// SPDX-License-Identifier: MIT
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <sys/types.h>

#include <cstdint>
#include <string_view>

#include "core/vfs/file_system.h"
#include "fuse/live_handles.h"

/// Parts of LiveOperations. Each needs a request that wasn't answered yet, unless it has no parameter `req`.
namespace pkgfs::fuse {

/// The thread that causes the request; 0: of another pid namespace.
[[nodiscard]] inline pid_t caller_of(fuse_req_t req) { return fuse_req_ctx(req)->pid; }
/// A look-up. If the kernel may make it because an open was refused, opens the file for the open that follows.
[[nodiscard]] Result<vfs::Entry> look_up(fuse_req_t req, vfs::Inode dir, const char* name);
/// Whether `name` of `dir` still leads to `inode`, to which the kernel may have no reference any more.
[[nodiscard]] bool leads_to(vfs::FileSystem& tree, vfs::Inode dir, std::string_view name, vfs::Inode inode) noexcept;
/// Whether the kernel may have cached what an earlier daemon told it of the node.
[[nodiscard]] bool has_old_content(fuse_req_t req, fuse_ino_t ino);
/// Opens a file again that an earlier daemon had opened. Throws StaleNode if its node leads to no file any more, or to
/// another one.
[[nodiscard]] LiveHandle* open_again(fuse_req_t req, fuse_ino_t ino, std::uint64_t number);

}  // namespace pkgfs::fuse
