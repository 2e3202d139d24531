// SPDX-License-Identifier: MIT
#include "fuse/live_files.h"

#include <cerrno>
#include <ctime>
#include <utility>
#include <vector>

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

pid_t thread_of(std::uint64_t refusal) { return static_cast<pid_t>(refusal >> 32U); }

}  // namespace

void LiveFiles::opened(std::uint64_t node, std::shared_ptr<const vfs::OpenFile> file) {
  const MutexLock lock(mutex_);
  open_.emplace(node, std::move(file));
}

void LiveFiles::closed(std::uint64_t node, const vfs::OpenFile& file) {
  std::shared_ptr<const vfs::OpenFile> last;  // closed after the lock is released
  const MutexLock lock(mutex_);
  for (auto [at, end] = open_.equal_range(node); at != end; ++at) {
    if (at->second.get() == &file) {
      last = std::move(at->second);
      open_.erase(at);
      return;
    }
  }
}

Result<vfs::Attributes> LiveFiles::attributes(std::uint64_t node, std::uint64_t number) const {
  std::vector<std::shared_ptr<const vfs::OpenFile>> files;
  {
    const MutexLock lock(mutex_);
    for (auto [at, end] = open_.equal_range(node); at != end; ++at) {
      files.push_back(at->second);
    }
  }
  for (const auto& file : files) {
    if (Result<vfs::Attributes> found = file->attributes(); found && found->number == number) {
      return found;
    }
  }
  return fail(ENOENT);
}

void LiveFiles::answered(pid_t thread) {
  std::atomic<Refusal>& last = refusal_of(thread);
  if (thread_of(last.load(std::memory_order_relaxed)) == thread) {
    last = 0;
  }
}

bool LiveFiles::may_refuse(pid_t thread) {
  if (thread <= 0) {
    return false;  // of another pid namespace: it can't be told from others
  }
  const std::uint32_t now = milliseconds();
  std::atomic<Refusal>& last = refusal_of(thread);
  const Refusal before = last.exchange((static_cast<Refusal>(thread) << 32U) | now);
  if (thread_of(before) == thread && now - static_cast<std::uint32_t>(before) <= kRefused) {
    last = 0;
    return false;
  }
  return true;
}

}  // namespace pkgfs::fuse
