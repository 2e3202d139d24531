// SPDX-License-Identifier: MIT
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "fuse/session.h"

namespace pkgfs::fuse {

void Session::forget_names(std::span<const OldNode> nodes) {
  for (const OldNode& each : nodes) {
    if (each.parent != 0) {
      (void)fuse_lowlevel_notify_inval_entry(session_, each.parent, each.name.data(), each.name.size());
    }
  }
}

}  // namespace pkgfs::fuse
