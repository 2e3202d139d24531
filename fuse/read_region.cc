// SPDX-License-Identifier: MIT
#include "fuse/read_region.h"

#include <algorithm>

namespace pkgfs::fuse {
namespace {

/// Jumps after which a directory counts as read at random.
constexpr unsigned kJumps = 3;
/// So many reads of files that were prefetched may have raced with the prefetch. With more, the kernel has dropped the
/// files from its cache, and the region begins anew.
constexpr unsigned kRaces = 8;

}  // namespace

void ReadRegion::note_read(std::uint64_t position) {
  const bool is_near = position + kGap > begin && position <= std::max(end, read) + kGap;
  const bool is_inside = is_near && position <= end;
  if (is_inside && ++inside < kRaces) {
    in_order = true;  // asked for while it was on its way, or by the second of several readers
  } else if (is_near && !is_inside && window > 0) {
    in_order = true;
    if (position <= std::max(end, read) + 1) {  // a reader that leaves files out reads less than is prefetched
      window = std::min(2 * window, kMostWindow);
    }
  } else {
    const bool goes_on = position > read && position <= read + kGap;
    ++jumps;
    window = jumps <= kJumps || goes_on ? kFirstWindow : 0;
    begin = position - 1;
    end = position;
    read = position;
    inside = 0;
  }
  read = std::max(read, position);
}

void ReadRegion::note_prefetch(std::uint64_t position) {
  end = std::max(end, position);
  window = std::max(window, kFirstWindow);
}

}  // namespace pkgfs::fuse
