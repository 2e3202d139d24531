// SPDX-License-Identifier: MIT
#include "core/lazy/block_claims.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "core/base/error.h"

namespace pkgfs {
namespace {

constexpr std::uint64_t kFirstByte = 1ULL << 40U;  // the lock of block 0
constexpr BlockRange kChange{kFirstByte - 1, 1};

struct flock lock_of(short type, BlockRange bytes) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(bytes.first);
  lock.l_len = static_cast<off_t>(bytes.count);
  return lock;
}

/// Locks or unlocks `bytes`. 0 or an errno number; EAGAIN if another process has one of them.
int set_lock(int fd, short type, BlockRange bytes) {
  struct flock lock = lock_of(type, bytes);
  while (::fcntl(fd, F_OFD_SETLK, &lock) != 0) {
    if (errno != EINTR) {
      return errno == EACCES ? EAGAIN : errno;
    }
  }
  return 0;
}

BlockRange bytes_of(BlockRange blocks) { return {kFirstByte + blocks.first, blocks.count}; }
void unlock(int fd, BlockRange blocks) {
  if (!blocks.empty()) {
    set_lock(fd, F_UNLCK, bytes_of(blocks));
  }
}

/// Some of the blocks of `range` that another process has claimed; empty if it has released them meanwhile.
BlockRange claimed_by_others(int fd, BlockRange range) {
  struct flock lock = lock_of(F_WRLCK, bytes_of(range));
  if (::fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) {
    return {};
  }
  const auto start = static_cast<std::uint64_t>(lock.l_start);
  const std::uint64_t first = std::max(range.first, start - std::min(start, kFirstByte));
  const std::uint64_t after = start + static_cast<std::uint64_t>(lock.l_len);
  const std::uint64_t end = lock.l_len == 0 ? range.end() : std::min(range.end(), after - std::min(after, kFirstByte));
  return {first, end - std::min(end, first)};
}

Error cannot_lock(const std::string& path, int errnum) { return system_error("Unable to lock '" + path + "'", errnum); }

}  // namespace

BlockRange BlockClaims::unclaimed(BlockRange range) const {
  while (true) {
    BlockRange run = map_.missing(range);
    if (run.empty()) {
      return {};
    }
    const auto next = table_.upper_bound(run.first);
    if (next != table_.begin() && std::prev(next)->second > run.first) {
      const std::uint64_t end = std::prev(next)->second;
      if (end >= range.end()) {
        return {};
      }
      range = {end, range.end() - end};
      continue;
    }
    if (next != table_.end()) {
      run.count = std::min(run.count, next->first - run.first);
    }
    return run;
  }
}

std::optional<BlockRange> BlockClaims::claim(BlockRange range) {
  const MutexLock lock(mutex_);
  const auto skip_to = [&range](std::uint64_t block) { range = {block, range.end() - std::min(range.end(), block)}; };
  for (BlockRange run = unclaimed(range); !run.empty(); run = unclaimed(range)) {
    int errnum = set_lock(fd_, F_WRLCK, bytes_of(run));
    while (errnum == EAGAIN) {
      const BlockRange taken = claimed_by_others(fd_, run);
      if (!taken.empty() && taken.first == run.first) {
        skip_to(taken.end());
        break;
      }
      run.count = taken.empty() ? run.count : taken.first - run.first;
      errnum = set_lock(fd_, F_WRLCK, bytes_of(run));
    }
    if (errnum == EAGAIN) {
      continue;
    }
    if (errnum != 0) {
      throw cannot_lock(path_, errnum);
    }
    // Another process may have fetched blocks, and given up its claim, before this one had its lock.
    const BlockRange left = map_.missing(run);
    if (left.empty()) {
      unlock(fd_, run);
      skip_to(run.end());
      continue;
    }
    unlock(fd_, {run.first, left.first - run.first});
    unlock(fd_, {left.end(), run.end() - left.end()});
    table_.emplace(left.first, left.end());
    return left;
  }
  return std::nullopt;
}

void BlockClaims::release(BlockRange range) noexcept {
  const MutexLock lock(mutex_);
  unlock(fd_, range);
  table_.erase(range.first);
}

ChangeLock::ChangeLock(Mutex& mutex, int fd, const std::string& path) : lock_(mutex), fd_(fd) {
  // Not F_OFD_SETLKW: a process that is stopped while it has the lock must not stop all others.
  constexpr std::chrono::seconds kLongest{5};
  constexpr std::chrono::milliseconds kStep{1};
  const auto end = std::chrono::steady_clock::now() + kLongest;
  int errnum = set_lock(fd_, F_WRLCK, kChange);
  while (errnum == EAGAIN && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(kStep);
    errnum = set_lock(fd_, F_WRLCK, kChange);
  }
  if (errnum == EAGAIN) {
    throw Error(ErrorCode::kBusy, "Unable to lock '" + path + "': another process doesn't release its lock");
  }
  if (errnum != 0) {
    throw cannot_lock(path, errnum);
  }
}

ChangeLock::~ChangeLock() { set_lock(fd_, F_UNLCK, kChange); }

}  // namespace pkgfs
