// SPDX-License-Identifier: MIT
#include "fuse/parallel_lookups.h"

#include <linux/fuse.h>

#include <cstring>

namespace pkgfs::fuse {

void allow_parallel_lookups(std::span<const std::byte> request, std::span<std::byte> reply) {
  struct {
    fuse_in_header header;
    fuse_init_in init;
  } asked{};
  struct {
    fuse_out_header header;
    fuse_init_out init;
  } answer{};
  if (request.size() < sizeof(asked) || reply.size() < sizeof(answer)) {
    return;
  }
  std::memcpy(&asked, request.data(), sizeof(asked));
  std::memcpy(&answer, reply.data(), sizeof(answer));
  if ((asked.init.flags & FUSE_PARALLEL_DIROPS) == 0 || answer.header.error != 0) {
    return;
  }
  answer.init.flags |= FUSE_PARALLEL_DIROPS;
  std::memcpy(reply.data(), &answer, sizeof(answer));
}

}  // namespace pkgfs::fuse
