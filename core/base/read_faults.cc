// SPDX-License-Identifier: MIT
#include "core/base/read_faults.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "core/base/log.h"

namespace pkgfs::read_faults {
namespace {

using Clock = std::chrono::steady_clock;

std::array<std::atomic<std::uint64_t>, kCauses> counts{};

Mutex changed_mutex;
std::vector<std::string> changed PKGFS_GUARDED_BY(changed_mutex);

/// Whether `inner` lies in `outer`.
bool contains(const Range& outer, const Range& inner) {
  return inner.offset >= outer.offset && inner.offset - outer.offset <= outer.length &&
         inner.length <= outer.length - (inner.offset - outer.offset);
}

}  // namespace

std::string_view name_of(Cause cause) {
  constexpr std::array<std::string_view, kCauses> kNames{"read", "changed", "checksum"};
  return kNames.at(static_cast<std::size_t>(cause));
}

void count(Cause cause) { counts.at(static_cast<std::size_t>(cause)).fetch_add(1, std::memory_order_relaxed); }

std::uint64_t counted(Cause cause) {
  return counts.at(static_cast<std::size_t>(cause)).load(std::memory_order_relaxed);
}

void tell_changed(const std::string& file) {
  {
    const MutexLock lock(changed_mutex);
    changed.push_back(file);
  }
  log::warn("{} was changed in place while it is in use: what isn't cached of it fails with EIO. Open it again", file);
}

std::vector<std::string> changed_files() {
  const MutexLock lock(changed_mutex);
  return changed;
}

void tell_lost(std::string_view file, const Range& range, int error) {
  log::warn("{}: {} bytes at offset {:#x} can't be read: {}. Until they can, files that need them fail with EIO", file,
            range.length, range.offset,
            error == ENODATA ? "the file ends before" : std::generic_category().message(error));
}

void tell_found(std::string_view file, const Range& range) {
  log::warn("{}: {} bytes at offset {:#x} can be read again", file, range.length, range.offset);
}

bool FailedRanges::find_paused(const Range& range) const {
  const auto now = Clock::now();
  const MutexLock lock(mutex_);
  return std::ranges::any_of(failed_,
                             [&](const Failed& one) { return now - one.at < kPause && contains(range, one.range); });
}

void FailedRanges::failed(std::string_view file, const Range& range, int error) {
  bool is_new = true;
  {
    const MutexLock lock(mutex_);
    const auto known = std::ranges::find_if(
        failed_, [&](const Failed& one) { return contains(range, one.range) || contains(one.range, range); });
    if (known != failed_.end()) {
      is_new = false;
      if (contains(known->range, range)) {
        known->range = range;  // the smaller one says more
      }
      known->at = Clock::now();
    } else {
      if (failed_.size() == kMost) {
        failed_.erase(failed_.begin());
      }
      failed_.push_back({range, Clock::now()});
      count_.store(failed_.size(), std::memory_order_relaxed);
    }
  }
  if (is_new) {
    tell_lost(file, range, error);
  }
}

void FailedRanges::forget(std::string_view file, const Range& range) {
  std::vector<Range> found;
  {
    const MutexLock lock(mutex_);
    std::erase_if(failed_, [&](const Failed& one) {
      if (!contains(range, one.range)) {
        return false;
      }
      found.push_back(one.range);
      return true;
    });
    count_.store(failed_.size(), std::memory_order_relaxed);
  }
  for (const Range& one : found) {
    tell_found(file, one);
  }
}

}  // namespace pkgfs::read_faults
