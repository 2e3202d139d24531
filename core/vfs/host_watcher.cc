// SPDX-License-Identifier: MIT
#include "core/vfs/host_watcher.h"

#include <sys/inotify.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>

#include "core/base/limits.h"

namespace pkgfs::vfs {
namespace {

constexpr std::uint32_t kContent = IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE;
constexpr std::uint32_t kEntry = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;
constexpr std::uint32_t kName = kEntry | IN_CLOSE_WRITE;
constexpr std::uint32_t kSelf = IN_MOVE_SELF | IN_DELETE_SELF;

/// The file systems whose changes all come through this kernel (`f_type` of statfs(2)). Of any other, such as NFS,
/// CIFS, 9p or FUSE, another machine or process can change files without inotify noticing. vfat, exfat and ntfs3 aren't
/// here: they ignore case, and inotify reports another spelling of a name than the kernel looked up.
constexpr std::array<std::uint32_t, 19> kLocal{
    0xEF53,                                          // ext2, ext3, ext4
    0x9123683E, 0x58465342, 0x01021994,              // btrfs, xfs, tmpfs
    0x858458F6, 0x794C7630, 0xF2F52010,              // ramfs, overlayfs, f2fs
    0x2FC12FC1, 0xCA451A4E,                          // zfs, bcachefs
    0x73717368, 0xE0F5E1E2, 0x9660,     0x28CD3D45,  // squashfs, erofs, isofs, cramfs
    0x3153464A, 0x52654973, 0x3434,     0x24051905,  // jfs, reiserfs, nilfs2, ubifs
    0x15013346, 0x00011954,                          // udf, ufs
};

bool is_local(int directory) {
  struct statfs status{};
  return ::fstatfs(directory, &status) == 0 &&
         std::ranges::find(kLocal, static_cast<std::uint32_t>(status.f_type)) != kLocal.end();
}

}  // namespace

std::size_t HostWatcher::share_of_limit() {
  std::size_t limit = 0;
  if (std::ifstream("/proc/sys/fs/inotify/max_user_watches") >> limit) {
    return limit / 2;
  }
  return std::numeric_limits<std::size_t>::max();
}

HostWatcher::HostWatcher(std::size_t most) : most_(most), queue_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
  if (!queue_) {
    error_ = errno;
  }
}

HostWatcher::Counts HostWatcher::counts() const {
  const MutexLock lock(mutex_);
  return {.watched = watches_.size(), .limited = limited_, .unsupported = unsupported_};
}

HostWatcher::Added HostWatcher::add(int directory, std::uint64_t watch) {
  // Before the lock, which each look-up needs: a network file system may not answer.
  const bool unsupported = queue_ && !is_local(directory);
  const MutexLock lock(mutex_);
  const Added added = unsupported ? Added::kUnsupported : try_add(directory, watch);
  limited_ += added == Added::kLimit ? 1 : 0;
  unsupported_ += added == Added::kUnsupported ? 1 : 0;
  return added;
}

HostWatcher::Added HostWatcher::try_watch(int directory, std::uint32_t mask, int& number) {
  if (!queue_) {
    return error_ == EMFILE ? Added::kLimit : Added::kUnsupported;
  }
  const std::string path = "/proc/self/fd/" + std::to_string(directory);
  if (watches_.size() + names_.size() >= most_) {
    return Added::kLimit;
  }
  number = ::inotify_add_watch(queue_.get(), path.c_str(), mask | IN_ONLYDIR | IN_MASK_ADD);
  if (number < 0) {
    return errno == ENOSPC || errno == ENOMEM ? Added::kLimit : Added::kUnsupported;
  }
  return Added::kYes;
}

HostWatcher::Added HostWatcher::try_add(int directory, std::uint64_t watch) {
  int number = -1;
  const Added added = try_watch(directory, kContent | kEntry, number);
  if (added != Added::kYes) {
    return added;
  }
  // `remove` looks into `descriptors_`: if memory runs out, it must have the watch rather than lack it.
  std::vector<int>& descriptors = descriptors_[watch];
  std::vector<std::uint64_t>& known = watches_[number];
  if (std::ranges::find(known, watch) == known.end()) {
    descriptors.push_back(number);
    known.push_back(watch);
  }
  return Added::kYes;
}

HostWatcher::Added HostWatcher::add_name(int directory, std::string_view name, std::uint64_t watch,
                                         std::shared_ptr<NameListener> listener) {
  if (queue_ && !is_local(directory)) {
    return Added::kUnsupported;
  }
  const MutexLock lock(mutex_);
  int number = -1;
  const Added added = try_watch(directory, kName | kSelf, number);
  if (added == Added::kYes) {
    std::vector<int>& descriptors = descriptors_[watch];
    if (std::ranges::find(descriptors, number) == descriptors.end()) {
      descriptors.push_back(number);
    }
    names_[number].push_back({std::string(name), watch, std::move(listener)});
    std::size_t most = 0;
    for (const auto& [other, names] : names_) {
      most += names.size();
    }
    suspects_.reserve(most);
  }
  return added;
}

void HostWatcher::replaced() { replaced_.store(true, std::memory_order_release); }

void HostWatcher::suspect(const std::shared_ptr<NameListener>& listener) {
  const MutexLock lock(mutex_);
  add_suspect(listener);
}

void HostWatcher::add_suspect(const std::shared_ptr<NameListener>& listener) {
  // It has memory for each name.
  if (std::ranges::find(suspects_, listener) == suspects_.end() && suspects_.size() < suspects_.capacity()) {
    suspects_.push_back(listener);
    has_suspects_.store(true, std::memory_order_release);
  }
}

void HostWatcher::ask_listeners() {
  std::vector<std::shared_ptr<NameListener>> suspects;
  {
    const MutexLock lock(mutex_);
    suspects.assign(suspects_.begin(), suspects_.end());
    suspects_.clear();  // keeps its memory
    has_suspects_.store(false, std::memory_order_release);
  }
  for (const auto& listener : suspects) {
    listener->look();
  }
}

void HostWatcher::drop(int descriptor, std::uint64_t watch) {
  const auto found = watches_.find(descriptor);
  if (found != watches_.end()) {
    std::erase(found->second, watch);
    if (found->second.empty()) {
      watches_.erase(found);
    }
  }
  const auto named = names_.find(descriptor);
  if (named != names_.end()) {
    std::erase_if(named->second, [watch](const Name& name) { return name.watch == watch; });
    if (named->second.empty()) {
      names_.erase(named);
    }
  }
  if (!watches_.contains(descriptor) && !names_.contains(descriptor)) {
    (void)::inotify_rm_watch(queue_.get(), descriptor);
  }
}

void HostWatcher::remove(std::uint64_t watch) {
  const MutexLock lock(mutex_);
  const auto found = descriptors_.find(watch);
  if (found == descriptors_.end()) {
    return;
  }
  for (const int descriptor : found->second) {
    drop(descriptor, watch);
  }
  descriptors_.erase(found);
}

void HostWatcher::report_names(int descriptor, std::uint32_t mask, std::string_view name,
                               FunctionRef<void(const HostChange&)> report) {
  const auto found = names_.find(descriptor);
  if (found == names_.end()) {
    return;
  }
  const bool itself = (mask & (kSelf | IN_IGNORED)) != 0;
  for (const Name& watched : found->second) {
    if (!itself && ((mask & kName) == 0 || watched.name != name || name.empty())) {
      continue;
    }
    watched.listener->suspect();
    report({.kind = HostChange::Kind::kSuspected, .watch = 0, .name = {}});
    add_suspect(watched.listener);
  }
  if ((mask & IN_IGNORED) != 0) {
    names_.erase(found);
  }
}

void HostWatcher::report_one(int descriptor, std::uint32_t mask, std::string_view name,
                             FunctionRef<void(const HostChange&)> report) {
  using Kind = HostChange::Kind;
  if ((mask & IN_Q_OVERFLOW) != 0) {
    report({.kind = Kind::kAll, .watch = 0, .name = {}});
    for (const auto& [number, names] : names_) {
      report_names(number, IN_MOVE_SELF, {}, report);
    }
    return;
  }
  report_names(descriptor, mask, name, report);
  if ((mask & kSelf) != 0) {
    return;  // its own directory says so of a directory that is shown
  }
  const auto found = watches_.find(descriptor);
  if (found == watches_.end()) {
    return;  // removed since; inotify doesn't use the number again soon
  }
  const bool ended = (mask & IN_IGNORED) != 0;
  const Kind kind = ended ? Kind::kUnwatched : (mask & kEntry) != 0 ? Kind::kEntry : Kind::kContent;
  for (const std::uint64_t watch : found->second) {
    report({.kind = kind, .watch = watch, .name = name});
    if (const auto listed = descriptors_.find(watch); ended && listed != descriptors_.end()) {
      std::erase(listed->second, descriptor);
    }
  }
  if (ended) {
    watches_.erase(found);
  }
}

void HostWatcher::collect(FunctionRef<void(const HostChange&)> report) {
  if (!queue_) {
    return;
  }
  // The lock is held from the reading to the reporting: a thread that finds the queue empty knows that all is reported.
  const MutexLock lock(mutex_);
  if (replaced_.exchange(false, std::memory_order_acq_rel)) {
    report({.kind = HostChange::Kind::kReplaced, .watch = 0, .name = {}});
  }
  for (std::size_t count = 0; count < limits::kHostChanges;) {
    const ssize_t length = ::read(queue_.get(), buffer_.data(), buffer_.size());
    if (length <= 0) {
      behind_.store(false, std::memory_order_release);
      return;
    }
    for (std::size_t at = 0; at < static_cast<std::size_t>(length);) {
      inotify_event event{};
      std::memcpy(&event, buffer_.data() + at, sizeof(event));
      const char* const name = buffer_.data() + at + sizeof(event);
      report_one(event.wd, event.mask, event.len == 0 ? std::string_view() : std::string_view(name), report);
      at += sizeof(event) + event.len;
      ++count;
    }
  }
  behind_.store(true, std::memory_order_release);
}

}  // namespace pkgfs::vfs
