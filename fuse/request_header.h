// SPDX-License-Identifier: MIT
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/fuse.h>

namespace pkgfs::fuse {

/// The header of a request that was read from the device.
inline const fuse_in_header& header_of(const fuse_buf& request) {
  return *static_cast<const fuse_in_header*>(request.mem);
}

}  // namespace pkgfs::fuse
