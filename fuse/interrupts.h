// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "core/base/function_ref.h"
#include "core/base/thread_annotations.h"
#include "fuse/request_store.h"

struct fuse_buf;

namespace pkgfs::fuse {

/// The kernel's INTERRUPT requests: a signal has come for a process that waits for the reply to a request. The kernel
/// doesn't let such a process go, not even if it was killed, before the daemon has replied to that request.
///
/// The reply EINTR may be sent by any thread, although another thread still works on the request. The kernel takes the
/// first reply to a request, and answers a later one with ENOENT. The fuse_reply_* function of the other thread then
/// fails, and the operation undoes what it did for the reader. The kernel never uses the number of a request again. So
/// the two threads need not agree on which of them replies.
///
/// Thread-safe.
class Interrupts {
 public:
  using Clock = std::chrono::steady_clock;
  /// What is known of a request that is to be interrupted.
  enum class Found : std::uint8_t {
    kWaiting,   // reply EINTR to it
    kYoung,     // it may be answered soon: ask again later
    kAnswered,  // `find` has replied
    kNowhere,   // it was answered already, or a thread is about to begin with it
  };

  /// `device` is the descriptor of the FUSE device.
  explicit Interrupts(int device) : device_(device) {}

  /// Keeps an INTERRUPT until `settle` answers it. Without memory for that, the kernel is told to send it again.
  /// `kept` is the copy for a successor of this daemon.
  void add(const fuse_buf& request, RequestStore::Kept kept) PKGFS_EXCLUDES(mutex_);
  /// Answers a request with `error`, without libfuse.
  void refuse(const fuse_buf& request, int error) const;
  /// Whether some are kept.
  [[nodiscard]] bool any() const { return any_; }
  /// Calls `find` for every request that is to be interrupted, and does what its result asks for. If a request is still
  /// nowhere after some time, tells the kernel to send its INTERRUPT again. The kernel doesn't if the request was
  /// answered.
  void settle(Clock::time_point now, FunctionRef<Found(std::uint64_t request)> find) PKGFS_EXCLUDES(mutex_);

 private:
  struct Item {
    std::uint64_t request = 0;    // to be interrupted
    std::uint64_t interrupt = 0;  // the number of the INTERRUPT itself
    Clock::time_point since;
    RequestStore::Kept kept;
  };

  void reply(std::uint64_t number, int error) const;

  int device_;
  std::atomic<bool> any_{false};
  Mutex mutex_;
  std::vector<Item> items_ PKGFS_GUARDED_BY(mutex_);
};

}  // namespace pkgfs::fuse
