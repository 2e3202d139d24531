// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>

namespace pkgfs::fuse {

/// Changes `reply`, the reply to the kernel's INIT request `request`: the kernel may then send a look-up in a directory
/// while another one in the same directory waits for its reply. libfuse 3.14 never replies that, although it knows the
/// capability. Both spans begin with the header of their message. Changes nothing if the kernel is older than Linux
/// 4.7, or if `reply` reports an error.
void allow_parallel_lookups(std::span<const std::byte> request, std::span<std::byte> reply);

}  // namespace pkgfs::fuse
