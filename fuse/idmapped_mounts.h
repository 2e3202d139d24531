// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace pkgfs::fuse {

/// Changes `reply`, the reply to the kernel's INIT request `request`: the kernel may then show a copy of the mount with
/// other owners (MOUNT_ATTR_IDMAP of mount_setattr(2)), as pods with a user namespace need it. libfuse 3.18 can't reply
/// that. The kernel maps the owners in replies itself, so nothing else changes for the daemon, except that requests no
/// longer name a user. Both spans begin with the header of their message. Changes nothing if the kernel is older than
/// Linux 6.12, or if `reply` reports an error.
///
/// The mount must have the option `default_permissions`; the kernel refuses the reply otherwise.
void allow_idmapped_mounts(std::span<const std::byte> request, std::span<std::byte> reply);

/// Whether a mount with these `-o` words may be shown with other owners. Not with `allow_root`: libfuse compares the
/// user of each request.
[[nodiscard]] bool may_be_idmapped(std::span<const std::string> words);

}  // namespace pkgfs::fuse
