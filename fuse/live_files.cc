// SPDX-License-Identifier: MIT
#include "fuse/live_files.h"

#include <cerrno>
#include <utility>
#include <vector>

namespace pkgfs::fuse {

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
  std::atomic<pid_t>& last = refused_.at(static_cast<std::size_t>(thread) % kThreads);
  if (last.load(std::memory_order_relaxed) == thread) {
    last = 0;
  }
}

bool LiveFiles::may_refuse(pid_t thread) {
  if (thread <= 0) {
    return false;  // of another pid namespace: it can't be told from others
  }
  std::atomic<pid_t>& last = refused_.at(static_cast<std::size_t>(thread) % kThreads);
  if (last.exchange(thread) == thread) {
    last = 0;
    return false;
  }
  return true;
}

}  // namespace pkgfs::fuse
