// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <condition_variable>

#include "core/base/thread_annotations.h"

namespace pkgfs::test {

/// Threads that come to it while it is closed wait until it is opened. Thread-safe.
class Gate {
 public:
  void close() {
    const MutexLock lock(mutex_);
    open_ = false;
  }
  void open() {
    const MutexLock lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    MutexLock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    lock.wait(changed_, [this]() PKGFS_REQUIRES(mutex_) { return open_; });
    --waiting_;
  }
  /// Whether `count` threads came to wait here within some seconds.
  [[nodiscard]] bool holds(int count) {
    MutexLock lock(mutex_);
    return lock.wait_for(changed_, std::chrono::seconds(10),
                         [&]() PKGFS_REQUIRES(mutex_) { return !open_ && waiting_ >= count; });
  }

 private:
  Mutex mutex_;
  std::condition_variable changed_;
  bool open_ PKGFS_GUARDED_BY(mutex_) = true;
  int waiting_ PKGFS_GUARDED_BY(mutex_) = 0;
};

}  // namespace pkgfs::test
