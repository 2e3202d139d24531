// SPDX-License-Identifier: MIT
#include "daemon/serve/close_attempts.h"

#include <algorithm>

namespace pkgfs {
namespace {

constexpr auto kLongest = std::chrono::minutes(10);
constexpr auto kShortestEarly = std::chrono::seconds(1);
constexpr auto kLongestEarly = std::chrono::minutes(1);

}  // namespace

bool CloseAttempts::begin(const vfs::ServedFileSystem::OpenSlot& open, Clock::time_point now) {
  Attempts& attempts = attempts_[open.slot];
  if (attempts.root != open.root) {
    attempts = {.root = open.root, .used = open.used, .usual = {}, .early = {}};
  } else if (attempts.used != open.used) {
    attempts.used = open.used;
    attempts.usual = {};
  }
  Pause& pause = open.early ? attempts.early : attempts.usual;
  if (now < pause.next) {
    return false;
  }
  const Clock::duration shortest = open.early ? Clock::duration(kShortestEarly) : Clock::duration(idle_);
  const Clock::duration longest = open.early ? Clock::duration(kLongestEarly) : Clock::duration(kLongest);
  pause.length = std::clamp(2 * pause.length, shortest, std::max(longest, shortest));
  pause.next = now + pause.length;
  return true;
}

}  // namespace pkgfs
