// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "core/base/thread_annotations.h"
#include "core/lazy/block_map.h"
#include "core/lazy/block_range.h"

namespace pkgfs {

/// Which blocks of a file are being fetched, by all processes that have it open. Other processes see a claim as a lock
/// on a range of bytes, one for each block, far behind the end of the file. The locks are those of open file
/// descriptions (F_OFD_SETLK), so the kernel releases them when the process dies. They don't exclude the threads that
/// share the descriptor: a table does. Thread-safe.
class BlockClaims {
 public:
  /// `fd` is open for writing. `map` and `fd` must outlive this object; `path` is for messages.
  BlockClaims(const BlockMap& map, int fd, std::string path) : map_(map), fd_(fd), path_(std::move(path)) {}

  /// Claims the first run of blocks in `range` that are missing and not claimed. Doesn't wait. Nothing if there are
  /// none. Throws Error.
  [[nodiscard]] std::optional<BlockRange> claim(BlockRange range) PKGFS_EXCLUDES(mutex_);
  /// Gives up a claim, as `claim` returned it.
  void release(BlockRange range) noexcept PKGFS_EXCLUDES(mutex_);

 private:
  /// The first run of blocks in `range` that are missing and that no thread of this process has claimed.
  [[nodiscard]] BlockRange unclaimed(BlockRange range) const PKGFS_REQUIRES(mutex_);

  const BlockMap& map_;
  int fd_;
  std::string path_;
  Mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> table_ PKGFS_GUARDED_BY(mutex_);  // from the first block to the end
};

/// A short exclusive lock between all processes and threads that have a file open. The destructor releases it.
class PKGFS_SCOPED_CAPABILITY ChangeLock {
 public:
  /// `mutex` belongs to `fd`. Throws Error(kBusy) if another process doesn't release the lock in time, and Error naming
  /// `path`.
  ChangeLock(Mutex& mutex, int fd, const std::string& path) PKGFS_ACQUIRE(mutex);
  ~ChangeLock() PKGFS_RELEASE();
  ChangeLock(const ChangeLock&) = delete;
  ChangeLock& operator=(const ChangeLock&) = delete;

 private:
  MutexLock lock_;
  int fd_;
};

}  // namespace pkgfs
