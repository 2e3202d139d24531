// SPDX-License-Identifier: MIT
#include "fuse/pinned_files.h"

#include <algorithm>
#include <ctime>
#include <utility>

namespace pkgfs::fuse {
namespace {

constexpr std::size_t kMostPins = 64;
constexpr std::int64_t kSecondsPinned = 2;

std::int64_t pinned_at() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  return time.tv_sec;
}

}  // namespace

PinnedFiles::Pins::iterator PinnedFiles::at(pid_t thread, vfs::Inode node) {
  return std::ranges::find_if(pins_, [&](const Pin& pin) { return pin.thread == thread && pin.node == node; });
}

void PinnedFiles::pin(pid_t thread, vfs::Inode node, std::shared_ptr<vfs::OpenFile> file) {
  Pins ended;
  ended.reserve(kMostPins);
  {
    const MutexLock lock(mutex_);
    const auto same = thread == 0 ? pins_.end() : std::ranges::find(pins_, thread, &Pin::thread);
    if (same != pins_.end() || pins_.size() >= kMostPins) {
      const auto old = same != pins_.end() ? same : pins_.begin();
      ended.push_back(std::move(*old));
      pins_.erase(old);
    }
    pins_.push_back({thread, node, std::move(file), pinned_at()});
    count_.store(pins_.size(), std::memory_order_relaxed);
  }
  drop(ended);
}

std::shared_ptr<vfs::OpenFile> PinnedFiles::find(pid_t thread, vfs::Inode node) {
  if (count_.load(std::memory_order_relaxed) == 0) {
    return nullptr;
  }
  const MutexLock lock(mutex_);
  const auto found = at(thread, node);
  return found == pins_.end() ? nullptr : found->file;
}

std::shared_ptr<vfs::OpenFile> PinnedFiles::take(pid_t thread, vfs::Inode node) {
  if (count_.load(std::memory_order_relaxed) == 0) {
    return nullptr;
  }
  Pin pin;
  {
    const MutexLock lock(mutex_);
    const auto found = at(thread, node);
    if (found == pins_.end()) {
      return nullptr;
    }
    pin = std::move(*found);
    pins_.erase(found);
    count_.store(pins_.size(), std::memory_order_relaxed);
  }
  fs_.forget(pin.node, 1);  // the kernel has references of its own
  return std::move(pin.file);
}

void PinnedFiles::end_old() {
  if (count_.load(std::memory_order_relaxed) == 0) {
    return;
  }
  Pins ended;
  ended.reserve(kMostPins);
  {
    const MutexLock lock(mutex_);
    const std::int64_t now = pinned_at();
    const auto first_young =
        std::ranges::find_if(pins_, [&](const Pin& pin) { return now - pin.since <= kSecondsPinned; });
    ended.assign(std::make_move_iterator(pins_.begin()), std::make_move_iterator(first_young));
    pins_.erase(pins_.begin(), first_young);
    count_.store(pins_.size(), std::memory_order_relaxed);
  }
  drop(ended);
}

void PinnedFiles::drop(const Pins& ended) {
  for (const Pin& pin : ended) {
    fs_.forget(pin.node, 1);
  }
}

}  // namespace pkgfs::fuse
