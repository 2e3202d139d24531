// SPDX-License-Identifier: MIT
#include "fuse/live_files.h"

#include <ctime>
#include <utility>

namespace pkgfs::fuse {
namespace {

/// Milliseconds within which the kernel sends a refused request again. Not less: if the second request were refused,
/// too, the program would see ESTALE.
constexpr std::uint32_t kRefused = 2000;

/// Of a clock that begins anew after 49 days.
std::uint32_t milliseconds() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(time.tv_sec) * 1000 +
                                    static_cast<std::uint64_t>(time.tv_nsec) / 1'000'000);
}

constexpr std::uint32_t kKinds = 3;  // the bits of a refusal that hold its kind

pid_t thread_of(std::uint64_t refusal) { return static_cast<pid_t>(refusal >> 32U); }

}  // namespace

void LiveFiles::opened(std::uint64_t node, std::shared_ptr<vfs::OpenFile> file) {
  const MutexLock lock(mutex_);
  open_.emplace(node, std::move(file));
}

std::size_t LiveFiles::count() const {
  const MutexLock lock(mutex_);
  return open_.size();
}

void LiveFiles::closed(std::uint64_t node, const vfs::OpenFile& file) {
  std::shared_ptr<vfs::OpenFile> last;  // closed after the lock is released
  const MutexLock lock(mutex_);
  for (auto [at, end] = open_.equal_range(node); at != end; ++at) {
    if (at->second.get() == &file) {
      last = std::move(at->second);
      open_.erase(at);
      return;
    }
  }
}

std::shared_ptr<vfs::OpenFile> LiveFiles::find(std::uint64_t node) const {
  const MutexLock lock(mutex_);
  const auto found = open_.find(node);
  return found == open_.end() ? nullptr : found->second;
}

LiveFiles::Refusal LiveFiles::refusal(pid_t thread, std::uint32_t kind) {
  return (static_cast<Refusal>(thread) << 32U) | (milliseconds() & ~kKinds) | kind;
}

bool LiveFiles::counts(Refusal last, pid_t thread) {
  return last != 0 && thread_of(last) == thread &&
         milliseconds() - (static_cast<std::uint32_t>(last) & ~kKinds) <= kRefused;
}

void LiveFiles::answered(pid_t thread) {
  std::atomic<Refusal>& last = refused_.at(slot(thread));
  if (thread != 0 && thread_of(last.load(std::memory_order_relaxed)) == thread) {
    last = 0;
  }
}

void LiveFiles::refused(pid_t thread) { refused_.at(slot(thread)) = refusal(thread, kOther); }

bool LiveFiles::was_refused(pid_t thread) const {
  const Refusal last = refused_.at(slot(thread)).load(std::memory_order_relaxed);
  return last != 0 && counts(last, thread);
}

bool LiveFiles::may_refuse(pid_t thread) {
  if (thread == 0) {
    refused(thread);
    return false;
  }
  std::atomic<Refusal>& last = refused_.at(slot(thread));
  const Refusal before = last.exchange(refusal(thread, kOpen));
  if ((before & kOpen) != 0 && counts(before, thread)) {
    last = 0;
    return false;
  }
  return true;
}

}  // namespace pkgfs::fuse
