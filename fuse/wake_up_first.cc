// SPDX-License-Identifier: MIT
#include "fuse/wake_up_first.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <ctime>

namespace pkgfs::fuse {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kMost = std::chrono::milliseconds(50);
constexpr nanoseconds kPeriod = std::chrono::seconds(1);

/// As of linux/sched/types.h, which can't be included together with sched.h.
struct SchedulingAttributes {
  std::uint32_t size = sizeof(SchedulingAttributes);
  std::uint32_t policy = SCHED_OTHER;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;  // nanoseconds
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};

void take_short_slice() {
  constexpr std::uint64_t kSlice = 100'000;  // nanoseconds, the shortest that the kernel allows
  const SchedulingAttributes short_slice{.runtime = kSlice};
  (void)::syscall(SYS_sched_setattr, 0, &short_slice, 0);
}

bool set_policy(int policy, int priority) {
  const sched_param parameters{.sched_priority = priority};
  return ::sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &parameters) == 0;
}

nanoseconds time_of(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

}  // namespace

bool ShareOfTime::is_kept(nanoseconds used, nanoseconds now) {
  if (now - begin_ >= period_) {
    begin_ = now;
    used_before_ = used;
  }
  return used - used_before_ <= most_;
}

WakeUpFirst::WakeUpFirst() : share_(kMost, kPeriod), may_(set_policy(SCHED_RR, 1)), has_(may_) {
  if (!may_) {
    take_short_slice();
  }
}

void WakeUpFirst::working() {
  if (!may_) {
    return;
  }
  const bool wanted = share_.is_kept(time_of(CLOCK_THREAD_CPUTIME_ID), time_of(CLOCK_MONOTONIC));
  if (wanted != has_ && set_policy(wanted ? SCHED_RR : SCHED_OTHER, wanted ? 1 : 0)) {
    has_ = wanted;
  }
}

}  // namespace pkgfs::fuse
