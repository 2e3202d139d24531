// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include "core/base/thread_annotations.h"
#include "core/vfs/file_system.h"
#include "core/vfs/walk.h"

namespace pkgfs::fuse {

/// The size of a tree, as `statfs` shows it.
struct Usage {
  std::uint64_t bytes = 0;
  std::uint64_t inodes = 0;
};

/// Counts a tree a little at a time, so that no `statfs` waits long. Thread-safe.
///
/// A tree with live directories isn't counted, since each count would read the host's directories again: its usage
/// stays 0.
class UsageCounter {
 public:
  /// How long one `get` may count; enough for more than a hundred thousand entries.
  static constexpr auto kPatience = std::chrono::milliseconds(100);

  /// `fs` must outlive the counter. Counts nothing yet.
  explicit UsageCounter(vfs::FileSystem& fs, std::chrono::nanoseconds patience = kPatience)
      : fs_(fs), patience_(patience) {}

  /// Continues counting where the last call stopped, unless another thread is counting now. Returns the count so far:
  /// the bytes of all files, those of the links' texts, and the inodes including the root. What can't be read isn't
  /// counted.
  [[nodiscard]] Usage get();

 private:
  void begin() PKGFS_REQUIRES(mutex_);
  /// Counts some entries; false: that was all.
  [[nodiscard]] bool count_some() PKGFS_REQUIRES(mutex_);

  vfs::FileSystem& fs_;
  std::chrono::nanoseconds patience_;
  Mutex mutex_;  // held while a thread counts
  bool begun_ PKGFS_GUARDED_BY(mutex_) = false;
  std::optional<vfs::TreeWalk> walk_ PKGFS_GUARDED_BY(mutex_);  // none: nothing is to be counted
  std::atomic<bool> done_{false};
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> inodes_{0};
};

}  // namespace pkgfs::fuse
