// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/thread_annotations.h"
#include "core/base/unique_fd.h"
#include "core/vfs/file_system.h"

namespace pkgfs::vfs {

class HostWatcher;
class NameListener;

/// Decides which entries are hidden from listings and look-ups. Thread-safe.
class HostFilter {
 public:
  virtual ~HostFilter() = default;
  /// `path` is relative to the root, without a leading "/".
  [[nodiscard]] virtual bool hidden(std::string_view path, bool is_directory) const = 0;
};

/// Whether an access of a path failed with `errnum` because the path leads to no directory now. After any other error,
/// it may still lead to one.
[[nodiscard]] constexpr bool leads_nowhere(int errnum) {
  return errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP;
}

/// The path of a directory of the host, which may lead to another directory later. Thread-safe.
class HostWay {
 public:
  virtual ~HostWay() = default;
  /// The directory that the path leads to now, as a descriptor with O_PATH. -1 with `errno` (`leads_nowhere`).
  [[nodiscard]] virtual UniqueFd open() const = 0;
  /// The filter for that directory. Called only if HostRoot was given one.
  [[nodiscard]] virtual std::shared_ptr<const HostFilter> filter(int root) const = 0;
  /// Makes `watcher` tell `listener` when `open` may answer something else. `watch` as in HostWatcher.
  virtual void watch(HostWatcher& watcher, std::uint64_t watch,
                     const std::shared_ptr<NameListener>& listener) const = 0;
};

/// The directory (or the single file) that a HostFileSystem shows. Thread-safe; an access takes no lock, unless it
/// follows the path.
///
/// With a HostWay, it is the directory that the path leads to now, such as one that a build has made anew. While the
/// path leads nowhere, an empty directory shows, and each access follows the path. The path is followed anew when the
/// watcher has told of a change on it, and when the directory was removed. An access of the root also follows it, at
/// most once a second. The watcher doesn't tell of everything, such as of the target of a symbolic link. If another
/// directory shows afterwards, or none, the watcher reports HostChange::kReplaced.
class HostRoot : public std::enable_shared_from_this<HostRoot> {
 public:
  /// `filter` and `way` may be null. Owned by a shared_ptr: a watcher may still look at it when its file system ends.
  HostRoot(UniqueFd fd, std::string name, std::shared_ptr<const HostFilter> filter, std::shared_ptr<const HostWay> way);
  ~HostRoot();
  HostRoot(const HostRoot&) = delete;
  HostRoot& operator=(const HostRoot&) = delete;

  /// The number stays the same for ever.
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] bool hides(std::string_view path, FileType type) const;
  /// Whether the path leads nowhere.
  [[nodiscard]] bool is_missing() const { return missing_.load(std::memory_order_acquire); }

  /// Follows the path anew if it may lead elsewhere.
  void follow();
  /// The same, even if nothing says so, but not twice a second. For accesses of the root itself.
  void follow_if_old();
  /// The same if the directory was removed. True: there is another one now.
  [[nodiscard]] bool follow_if_removed();
  /// Makes `watcher`, which must outlive this object, tell of changes on the path.
  void watch(HostWatcher& watcher, std::uint64_t watch);

 private:
  class Suspicion;
  void follow_path() PKGFS_EXCLUDES(mutex_);
  void tell_of_replacement();

  UniqueFd fd_;
  std::string name_;
  bool filters_;
  std::atomic<std::shared_ptr<const HostFilter>> filter_;
  std::shared_ptr<const HostWay> way_;
  std::shared_ptr<Suspicion> suspicion_;  // null without a way
  std::atomic<bool> missing_{false};
  std::atomic<std::int64_t> followed_at_{0};  // in seconds
  std::atomic<HostWatcher*> watcher_{nullptr};
  Mutex mutex_;  // one thread at a time follows the path
};

}  // namespace pkgfs::vfs
