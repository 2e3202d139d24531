// SPDX-License-Identifier: MIT
// The profile of a LazySource: fetching what readers needed in earlier mounts, and keeping what they need in this one.
#include <algorithm>
#include <utility>

#include "core/base/log.h"
#include "core/lazy/lazy_source.h"

namespace pkgfs {

void LazySource::expect(const AccessProfile::Ranges& ranges) {
  const std::vector<BlockRange> requests = requests_for(ranges, *file_);
  if (requests.empty()) {
    return;
  }
  log::debug("{}: fetches {} parts that earlier mounts needed", options_.remote.name, requests.size());
  {
    const MutexLock lock(mutex_);
    expected_.insert(expected_.end(), requests.begin(), requests.end());
  }
  fetcher_->wake();
}

void LazySource::begin_reading() {
  recorder_.begin_reading();
  {
    const MutexLock lock(mutex_);
    near_.reset();  // what the opening missed tells nothing about readers
  }
  AccessProfile::Ranges all;
  for (const AccessProfile::Ranges& ranges : options_.profile.mounts) {
    all.insert(all.end(), ranges.begin(), ranges.end());
  }
  expect(all);
}

FetchClient::Job LazySource::expected_job(Clock::time_point now, Clock::time_point& again) {
  if (fetcher_->room().is_out()) {
    return {};  // a job of the background looks for room
  }
  if (!expected_.empty() && now < health_.next()) {
    again = std::min(again, health_.next());
    return {};
  }
  auto claim = claim_first(expected_);
  if (!claim) {
    return {};
  }
  last_expected_ = now;
  return job_for(std::move(*claim), Priority::kExpected);
}

void LazySource::save_profile() noexcept {
  const MutexLock one(profile_mutex_);
  try {
    const auto profile = state() != State::kTampered && options_.keep_profile ? recorder_.take_changed() : std::nullopt;
    if (profile) {
      options_.keep_profile(*profile);
    }
  } catch (const std::exception&) {
    log::debug("{}: {}", options_.remote.name, current_error());  // then the next mount has the profile before
  }
  const MutexLock lock(mutex_);
  is_saving_profile_ = false;
}

}  // namespace pkgfs
