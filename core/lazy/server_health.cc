// SPDX-License-Identifier: MIT
#include "core/lazy/server_health.h"

#include <algorithm>
#include <utility>

namespace pkgfs {

void ServerHealth::failed(Error error, Clock::time_point now, std::optional<std::chrono::seconds> asked) {
  error_ = std::move(error);
  Clock::duration pause = kFirstPause * (1U << std::min(failures_, 5U));
  pause = std::min<Clock::duration>(pause, kLongestPause);
  if (asked) {
    pause = std::max<Clock::duration>(pause, std::min(*asked, kLongestAsked));
  }
  next_ = std::max(next_, now + pause);
  ++failures_;
}

}  // namespace pkgfs
