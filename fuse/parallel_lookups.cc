// SPDX-License-Identifier: MIT
#include "fuse/parallel_lookups.h"

#include "fuse/init_reply.h"

namespace pkgfs::fuse {

void allow_parallel_lookups(std::span<const std::byte> request, std::span<std::byte> reply) {
  change_init_reply(request, reply, [](const fuse_init_in& asked, fuse_init_out& answer) {
    answer.flags |= asked.flags & FUSE_PARALLEL_DIROPS;
  });
}

}  // namespace pkgfs::fuse
