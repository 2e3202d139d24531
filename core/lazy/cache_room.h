// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "core/base/error.h"
#include "core/base/thread_annotations.h"

namespace pkgfs {

/// Whether the cache can take blocks: its disk isn't full, and can be written. A process has one for all its lazy
/// containers. Thread-safe.
class CacheRoom {
 public:
  using Clock = std::chrono::steady_clock;
  /// How often a thread looks whether there is room again.
  static constexpr auto kInterval = std::chrono::seconds(3);
  /// A disk that is full now and then isn't logged more often than this.
  static constexpr auto kLogInterval = std::chrono::minutes(1);

  /// `free` removes what the user allows from the cache, and returns whether that freed bytes. May be empty.
  explicit CacheRoom(std::function<bool()> free) : free_(std::move(free)) {}

  /// Takes no lock.
  [[nodiscard]] bool is_out() const noexcept { return is_out_.load(std::memory_order_acquire); }
  /// Blocks can't be written because of `error`. The write began at `since`. Calls `free` if the disk is full. Returns
  /// whether the write is worth another attempt. If not, there is no room from now on.
  bool ran_out(const Error& error, Clock::time_point since) PKGFS_EXCLUDES(mutex_, free_mutex_);
  /// Logs that there is no room, unless that was logged, or there is room. For the moment when a mount lives on
  /// without: if there is no room while a mount is made, its error says so.
  void tell() PKGFS_EXCLUDES(mutex_);
  /// Blocks could be written. Logs that if `tell` has logged the contrary.
  void came_back() PKGFS_EXCLUDES(mutex_);
  /// Whether the caller shall look now whether there is room again. Only one does so at a time. Sets `again` to when
  /// the next look is due, if that is earlier.
  [[nodiscard]] bool begin_look(Clock::time_point now, Clock::time_point& again) PKGFS_EXCLUDES(mutex_);
  /// Why there is no room; none if there is room.
  [[nodiscard]] std::optional<Error> error() const PKGFS_EXCLUDES(mutex_);

 private:
  const std::function<bool()> free_;
  std::atomic<bool> is_out_{false};
  Mutex free_mutex_;  // one thread frees
  Clock::time_point freed_ PKGFS_GUARDED_BY(free_mutex_);
  mutable Mutex mutex_;
  std::optional<Error> error_ PKGFS_GUARDED_BY(mutex_);
  Clock::time_point look_ PKGFS_GUARDED_BY(mutex_);                   // when to look again
  std::optional<Clock::time_point> logged_ PKGFS_GUARDED_BY(mutex_);  // when a warning was logged last
  bool is_logged_ PKGFS_GUARDED_BY(mutex_) = false;                   // that there is no room now
};

}  // namespace pkgfs
