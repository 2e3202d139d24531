// SPDX-License-Identifier: MIT
#pragma once

#include "core/base/thread_annotations.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

/// The opener that a thread works with, so that another thread can end that. Once cancelled, it stays so.
class RunningOpener {
 public:
  /// Makes an opener known to `cancel`, while this object lives.
  class Scope {
   public:
    Scope(RunningOpener& running, PackageOpener& opener) : running_(running) {
      const MutexLock lock(running_.mutex_);
      running_.opener_ = &opener;
      if (running_.cancelled_) {
        opener.cancel();
      }
    }
    ~Scope() {
      const MutexLock lock(running_.mutex_);
      running_.opener_ = nullptr;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    RunningOpener& running_;
  };

  /// Any thread may call it.
  void cancel() {
    const MutexLock lock(mutex_);
    cancelled_ = true;
    if (opener_ != nullptr) {
      opener_->cancel();
    }
  }

 private:
  Mutex mutex_;
  PackageOpener* opener_ PKGFS_GUARDED_BY(mutex_) = nullptr;
  bool cancelled_ PKGFS_GUARDED_BY(mutex_) = false;
};

}  // namespace pkgfs
