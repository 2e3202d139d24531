// SPDX-License-Identifier: MIT
#include "core/net/retry.h"

#include <algorithm>
#include <random>

#include "core/base/error.h"
#include "core/base/log.h"

namespace pkgfs {

bool Backoff::again(const std::string& what, int failures) {
  failed_ += failures;
  if (failed_ >= policy_.attempts) {
    return false;
  }
  thread_local std::minstd_rand random{std::random_device{}()};
  constexpr int kMaxDoublings = 6;
  const auto longest = policy_.first_pause * (1 << std::min(failed_ - 1, kMaxDoublings));
  std::uniform_int_distribution<long> part(longest.count() / 2, longest.count());
  wait(std::chrono::milliseconds(part(random)), what);
  return true;
}

bool Backoff::again_after(std::chrono::seconds retry_after, const std::string& what) {
  const auto pause = std::max(retry_after, std::chrono::seconds(1));
  if (pause > policy_.server_wait - waited_) {
    return false;
  }
  waited_ += pause;
  log::info("{}: waiting {} s, as the server asks", what, pause.count());
  wait(pause, what);
  return true;
}

void Backoff::wait(std::chrono::milliseconds pause, const std::string& what) {
  log::debug("{}: trying again in {} ms", what, pause.count());
  if (cancel_.wait_for(pause)) {
    throw Error(ErrorCode::kInterrupted, what + ": interrupted");
  }
}

}  // namespace pkgfs
