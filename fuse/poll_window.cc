// SPDX-License-Identifier: MIT
#include "fuse/poll_window.h"

#include <algorithm>

namespace pkgfs::fuse {

PollWindow::Duration PollWindow::length(Time now) const { return now < pause_until_ ? Duration{0} : window_; }

void PollWindow::found() { pause_ = kFirstPause; }

void PollWindow::missed() {
  window_ /= 2;
  if (window_ < kFirst) {
    window_ = Duration{0};
  }
}

void PollWindow::slept(Duration asleep) {
  if (asleep < kMost) {
    window_ = std::clamp(2 * window_, kFirst, kMost);
  }
}

void PollWindow::disturbed(Time now) {
  pause_until_ = now + pause_;
  pause_ = std::min(2 * pause_, kLongestPause);
}

}  // namespace pkgfs::fuse
