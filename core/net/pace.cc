// SPDX-License-Identifier: MIT
#include "core/net/pace.h"

#include <algorithm>

namespace pkgfs {

void Pace::received(std::uint64_t bytes, Clock::time_point now) {
  if (bytes != bytes_) {
    bytes_ = bytes;
    last_ = now;
  }
  if (bytes_ == 0) {
    return;
  }
  if (samples_.empty() || now - samples_.back().first >= limits_.window / kSamples) {
    samples_.emplace_back(now, bytes_);
  }
  while (samples_.size() > 1 && now - samples_[1].first >= limits_.window) {
    samples_.pop_front();
  }
}

void Pace::paused(Clock::time_point from, Clock::time_point to) {
  const auto shifted = [&](Clock::time_point time) { return time <= from ? time + (to - from) : std::max(time, to); };
  if (last_) {
    last_ = shifted(*last_);
  }
  for (auto& [time, bytes] : samples_) {
    time = shifted(time);
  }
}

Pace::Verdict Pace::judge(Clock::time_point now, std::size_t transfers) const {
  if (limits_.deadline && now >= *limits_.deadline) {
    return Verdict::kLate;
  }
  if (last_ && now - *last_ >= limits_.silence) {
    return Verdict::kSilent;
  }
  if (!samples_.empty() && now - samples_.front().first >= limits_.window) {
    // Of the window, although the sample may be a little older: what comes in lumps is not slower for that.
    const double seconds = std::chrono::duration<double>(limits_.window).count();
    const double share =
        static_cast<double>(limits_.slowest) / static_cast<double>(std::max<std::size_t>(transfers, 1));
    if (static_cast<double>(bytes_ - samples_.front().second) < share * seconds) {
      return Verdict::kSlow;
    }
  }
  return Verdict::kFine;
}

}  // namespace pkgfs
