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

void Session::tell_root_changed(std::span<const std::string> names) {
  // The kernel waits here until each look-up and listing of the root has ended that may have begun before. The last
  // name is for a root without entries.
  for (const std::string& name : names) {
    (void)fuse_lowlevel_notify_inval_entry(session_, FUSE_ROOT_ID, name.data(), name.size());
  }
  constexpr std::string_view kNone = ".pkgfs";
  (void)fuse_lowlevel_notify_inval_entry(session_, FUSE_ROOT_ID, kNone.data(), kNone.size());
  (void)fuse_lowlevel_notify_inval_inode(session_, FUSE_ROOT_ID, 0, 0);
}

void Session::let_go(std::span<const OldNode> nodes) {
  if (adapter_.can_prune()) {
    std::vector<std::uint64_t> all;
    all.reserve(nodes.size());
    for (const OldNode& each : nodes) {
      all.push_back(each.node);
    }
    prune_nodes(session_, all);
    return;
  }
  // An entry that a program uses is dropped by its name only: as a working directory, it is shown as deleted from then
  // on.
  forget_names(nodes);
}

void Session::forget_listing(std::uint64_t node) { (void)fuse_lowlevel_notify_inval_inode(session_, node, 0, 0); }

}  // namespace pkgfs::fuse
