// SPDX-License-Identifier: MIT
#include "fuse/session_cache.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "fuse/memory_pressure.h"

namespace pkgfs::fuse {

int SessionCache::store(vfs::Inode file, std::span<const std::byte> content) {
  fuse_bufvec buffer = FUSE_BUFVEC_INIT(content.size());
  buffer.buf[0].mem = const_cast<std::byte*>(content.data());  // libfuse only reads it
  return -fuse_lowlevel_notify_store(session_, file, 0, &buffer, fuse_buf_copy_flags{});
}

bool SessionCache::is_memory_short() { return fuse::is_memory_short(); }

}  // namespace pkgfs::fuse
