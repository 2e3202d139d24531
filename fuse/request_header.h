// SPDX-License-Identifier: MIT
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/fuse.h>

#include <cstdint>

namespace pkgfs::fuse {

/// The header of a request that was read from the device.
inline const fuse_in_header& header_of(const fuse_buf& request) {
  return *static_cast<const fuse_in_header*>(request.mem);
}

/// Whether requests of this kind give references back to the daemon. They have no reply.
inline bool returns_references(std::uint32_t opcode) { return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET; }

/// Whether two numbers (fuse_in_header::unique) are of one request, which the kernel may have sent again.
inline bool is_same_request(std::uint64_t one, std::uint64_t other) {
  constexpr std::uint64_t kSentAgain = std::uint64_t{1} << 63U;  // FUSE_UNIQUE_RESEND, which Debian 12 doesn't have
  return ((one ^ other) & ~kSentAgain) == 0;
}

}  // namespace pkgfs::fuse
