// SPDX-License-Identifier: MIT
#include "core/vfs/kept_files.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/vfs/live_nodes.h"

namespace pkgfs::vfs {

std::size_t KeptFiles::share_of_limit() {
  constexpr rlim_t kMost = 1024;
  constexpr rlim_t kFew = 128;  // the daemon needs some of its own
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= kFew ? std::min(limit.rlim_cur / 2, kMost) : 0;
}

std::shared_ptr<OpenFile> KeptFiles::find(const LiveNode& node, std::uint64_t changes, std::int64_t now) const {
  const MutexLock lock(mutex_);
  const auto found = files_.find(inode_of(node));
  if (found == files_.end()) {
    return nullptr;
  }
  const Kept& kept = found->second;
  return kept.is_usable(changes, now) && kept.number == node.first.number && kept.generation == node.first.generation
             ? kept.file
             : nullptr;
}

bool KeptFiles::keep(const LiveNode& node, std::uint64_t changes, std::int64_t now, std::shared_ptr<OpenFile> file,
                     std::size_t open) {
  Kept kept{std::move(file), node.first.number, node.first.generation, changes, now};
  std::unordered_map<Inode, Kept> ended;  // closed after the lock is released, as is the old file in `kept`
  const MutexLock lock(mutex_);
  const std::size_t room = most_ - std::min(open, most_);
  if (files_.size() > room) {
    ended.swap(files_);
  }
  if (const auto found = files_.find(inode_of(node)); found != files_.end()) {
    std::swap(found->second, kept);
    return false;
  }
  if (files_.size() >= room) {
    return false;
  }
  files_.emplace(inode_of(node), std::move(kept));
  return files_.size() == 1;
}

bool KeptFiles::end_old(std::uint64_t changes, std::int64_t now) noexcept {
  while (true) {
    // Some at a time: to close files takes long, and other threads need the lock.
    std::array<std::shared_ptr<OpenFile>, 32> ended;
    std::size_t count = 0;
    const MutexLock lock(mutex_);
    for (auto at = files_.begin(); at != files_.end() && count < ended.size();) {
      if (at->second.is_usable(changes, now)) {
        ++at;
      } else {
        ended[count++] = std::move(at->second.file);
        at = files_.erase(at);
      }
    }
    if (count < ended.size()) {
      return !files_.empty();
    }
  }
}

}  // namespace pkgfs::vfs
