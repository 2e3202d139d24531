// SPDX-License-Identifier: MIT
#include "core/net/retry.h"

#include <algorithm>
#include <random>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/net/http_message.h"

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
  return wait(std::chrono::milliseconds(part(random)), what);
}

bool Backoff::again_after_timeout(std::chrono::milliseconds took, const std::string& what) {
  constexpr std::chrono::milliseconds kSlack{1'000};  // connecting, and the interval at which silence is noticed
  silent_ += took;
  return silent_ + took <= policy_.silence + kSlack && again(what, 2);
}

bool Backoff::again_after(const HttpError& error, Clock::time_point begun, const std::string& what) {
  return error.is_timeout()
             ? again_after_timeout(std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun), what)
             : again(what, 1);
}

bool Backoff::again_after(std::chrono::seconds retry_after, const std::string& what) {
  const auto pause = std::max(retry_after, std::chrono::seconds(1));
  if (pause > policy_.server_wait - waited_) {
    return false;
  }
  waited_ += pause;
  log::info("{}: waiting {} s, as the server asks", what, pause.count());
  return wait(pause, what);
}

void Backoff::reset() {
  failed_ = 0;
  silent_ = {};
}

bool Backoff::wait(std::chrono::milliseconds pause, const std::string& what) {
  if (deadline_ && Clock::now() + pause >= *deadline_) {
    return false;
  }
  log::debug("{}: trying again in {} ms", what, pause.count());
  if (cancel_.wait_for(pause)) {
    throw Error(ErrorCode::kInterrupted, what + ": interrupted");
  }
  ++attempts_;
  return true;
}

}  // namespace pkgfs
