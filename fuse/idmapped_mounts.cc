// SPDX-License-Identifier: MIT
#include "fuse/idmapped_mounts.h"

#include <algorithm>
#include <cstdint>

#include "fuse/init_reply.h"

namespace pkgfs::fuse {

void allow_idmapped_mounts(std::span<const std::byte> request, std::span<std::byte> reply) {
  // FUSE_ALLOW_IDMAP (1 << 40) of Linux 6.12, in the second word of flags. The headers of Debian 12 don't have it.
  constexpr std::uint32_t kAllowIdmap = 1U << 8U;
  constexpr auto kExtended = static_cast<std::uint32_t>(FUSE_INIT_EXT);
  change_init_reply(request, reply, [](const fuse_init_in& asked, fuse_init_out& answer) {
    if ((asked.flags & kExtended) == 0 || (asked.flags2 & kAllowIdmap) == 0) {
      return;
    }
    if ((answer.flags & kExtended) == 0) {
      answer.flags |= kExtended;
      answer.flags2 = 0;
    }
    answer.flags2 |= kAllowIdmap;
  });
}

bool may_be_idmapped(std::span<const std::string> words) {
  return std::ranges::find(words, "allow_root") == words.end();
}

}  // namespace pkgfs::fuse
