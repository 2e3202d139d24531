// SPDX-License-Identifier: MIT
#include "fuse/idmapped_mounts.h"

#include <linux/fuse.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace pkgfs::fuse {

void allow_idmapped_mounts(std::span<const std::byte> request, std::span<std::byte> reply) {
  // FUSE_ALLOW_IDMAP (1 << 40) of Linux 6.12, in the second word of flags. The headers of Debian 12 don't have it.
  constexpr std::uint32_t kAllowIdmap = 1U << 8U;
  constexpr auto kExtended = static_cast<std::uint32_t>(FUSE_INIT_EXT);
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
  if ((asked.init.flags & kExtended) == 0 || (asked.init.flags2 & kAllowIdmap) == 0 || answer.header.error != 0) {
    return;
  }
  if ((answer.init.flags & kExtended) == 0) {
    answer.init.flags |= kExtended;
    answer.init.flags2 = 0;
  }
  answer.init.flags2 |= kAllowIdmap;
  std::memcpy(reply.data(), &answer, sizeof(answer));
}

bool may_be_idmapped(std::span<const std::string> words) {
  return std::ranges::find(words, "allow_root") == words.end();
}

}  // namespace pkgfs::fuse
