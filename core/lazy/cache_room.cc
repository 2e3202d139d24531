// SPDX-License-Identifier: MIT
#include "core/lazy/cache_room.h"

#include <algorithm>
#include <utility>

#include "core/base/log.h"

namespace pkgfs {

bool CacheRoom::ran_out(const Error& error, Clock::time_point since) {
  if (free_ && error.code() == ErrorCode::kFull) {
    const MutexLock lock(free_mutex_);
    if (freed_ > since) {
      return true;  // another thread has done it meanwhile
    }
    if (free_()) {
      freed_ = Clock::now();
      return true;
    }
  }
  const MutexLock lock(mutex_);
  error_ = error;
  look_ = Clock::now() + kInterval;
  is_out_.store(true, std::memory_order_release);
  return false;
}

void CacheRoom::tell() {
  std::optional<Error> error;
  {
    const MutexLock lock(mutex_);
    const Clock::time_point now = Clock::now();
    if (!error_ || is_logged_ || (logged_ && now < *logged_ + kLogInterval)) {
      return;
    }
    is_logged_ = true;
    logged_ = now;
    error = error_;
  }
  log::warn("{}: packages are served without keeping what is fetched, until that changes: {}",
            error->code() == ErrorCode::kFull ? "the cache has no room" : "the cache can't be written", *error);
}

void CacheRoom::came_back() {
  bool logs = false;
  {
    const MutexLock lock(mutex_);
    if (!is_out_.exchange(false, std::memory_order_acq_rel)) {
      return;
    }
    error_.reset();
    logs = std::exchange(is_logged_, false);
  }
  if (logs) {
    log::warn("the cache has room again: what is fetched is kept from now on");
  }
}

bool CacheRoom::begin_look(Clock::time_point now, Clock::time_point& again) {
  const MutexLock lock(mutex_);
  if (now < look_) {
    again = std::min(again, look_);
    return false;
  }
  look_ = now + kInterval;
  again = std::min(again, look_);
  return true;
}

std::optional<Error> CacheRoom::error() const {
  const MutexLock lock(mutex_);
  return error_;
}

}  // namespace pkgfs
