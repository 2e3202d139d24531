// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/function_ref.h"
#include "core/base/thread_annotations.h"
#include "core/base/unique_fd.h"

namespace pkgfs::vfs {

/// Something changed in a watched directory.
struct HostChange {
  enum class Kind : std::uint8_t {
    kContent,    // bytes or attributes of the entry `name`; with an empty name, of the directory itself
    kEntry,      // `name` leads to another entry, or to none
    kUnwatched,  // the directory was removed, or its file system unmounted: it is watched no longer
    kAll,        // changes were lost: everything may have changed. `watch` is 0
    kReplaced,   // `HostWatcher::replaced` was called: everything below a root may have changed. `watch` is 0
    kSuspected,  // a NameListener suspects something, and may say kReplaced later. `watch` is 0
  };
  Kind kind = Kind::kAll;
  std::uint64_t watch = 0;  // as given to `add`
  std::string_view name;
};

/// Is told when a name changes (HostWatcher::add_name).
class NameListener {
 public:
  virtual ~NameListener() = default;
  /// Says that the name may lead to something else now. HostWatcher calls this in any thread, with its lock held. So an
  /// implementation sets a flag at most.
  virtual void suspect() noexcept = 0;
  /// `HostWatcher::ask_listeners` calls this later, in one thread, with no lock held. The function may access the host.
  virtual void look() noexcept = 0;
};

/// Watches directories of the host by inotify(7). Thread-safe.
///
/// When a program makes a change by a system call, the kernel queues the change before the call returns. When a later
/// `collect` of any thread returns, the change is reported, unless that call stopped early (`is_behind`). Not reported
/// are changes of a network file system by other machines, and stores into a shared mapping before the file is closed.
/// Writes through a hard link in another directory and mounts aren't reported, either.
class HostWatcher {
 public:
  enum class Added : std::uint8_t {
    kYes,
    kLimit,        // a limit was reached: of this object, of the user (fs.inotify.*), or of memory
    kUnsupported,  // a file system whose changes inotify doesn't report, or no permission
  };

  /// The share of the user's watches that one mount takes: half of them, so that other programs have some, too.
  [[nodiscard]] static std::size_t share_of_limit();

  /// Watches `most` directories at a time.
  explicit HostWatcher(std::size_t most = share_of_limit());

  /// 0, or the errno with which inotify refused: EMFILE where the user has too many instances.
  [[nodiscard]] int error() const { return error_; }
  /// Readable while there are changes to collect. Owned by this object.
  [[nodiscard]] int descriptor() const { return queue_.get(); }
  struct Counts {
    std::uint64_t watched = 0;      // directories now
    std::uint64_t limited = 0;      // calls of `add` that answered kLimit, since the beginning
    std::uint64_t unsupported = 0;  // the same for kUnsupported
  };
  [[nodiscard]] Counts counts() const PKGFS_EXCLUDES(mutex_);

  /// Watches the directory that the descriptor (O_PATH is enough) refers to. `collect` reports its changes with the
  /// number `watch`. Several directories may have the same number, and one directory may have several. The call holds
  /// no lock while it asks for the type of the file system, which may not answer.
  Added add(int directory, std::uint64_t watch) PKGFS_EXCLUDES(mutex_);
  /// Tells `listener` when `name` in the directory comes, goes or was written to, and when the directory itself is
  /// moved or removed. An empty `name`: tells only of the directory itself. `remove(watch)` also removes the listener.
  Added add_name(int directory, std::string_view name, std::uint64_t watch, std::shared_ptr<NameListener> listener)
      PKGFS_EXCLUDES(mutex_);
  /// The next `collect` reports a change of the kind kReplaced.
  void replaced() PKGFS_EXCLUDES(mutex_);
  /// The next `ask_listeners` calls `look` of this listener, which is one of `add_name`: it may have missed a change.
  void suspect(const std::shared_ptr<NameListener>& listener) PKGFS_EXCLUDES(mutex_);
  /// Whether listeners wait for `ask_listeners`.
  [[nodiscard]] bool has_suspects() const { return has_suspects_.load(std::memory_order_acquire); }
  /// Calls `look` of each listener that suspects something.
  void ask_listeners() PKGFS_EXCLUDES(mutex_);
  /// Afterwards nothing is reported for `watch`, not even by a `collect` that has begun.
  void remove(std::uint64_t watch) PKGFS_EXCLUDES(mutex_);

  /// Reports the changes since the last call, in their order, without waiting. Ends after about limits::kHostChanges
  /// changes, so that programs that change files all the time don't keep the caller here. If `is_behind` is false
  /// afterwards, all changes that were made before the call have been reported, here or in another thread. `report`
  /// must neither throw nor call this object.
  void collect(FunctionRef<void(const HostChange&)> report) PKGFS_EXCLUDES(mutex_);
  /// Whether the last `collect` of any thread left changes for the next.
  [[nodiscard]] bool is_behind() const { return behind_.load(std::memory_order_acquire); }

 private:
  void report_one(int descriptor, std::uint32_t mask, std::string_view name,
                  FunctionRef<void(const HostChange&)> report) PKGFS_REQUIRES(mutex_);
  /// `directory` is of a local file system.
  [[nodiscard]] Added try_add(int directory, std::uint64_t watch) PKGFS_REQUIRES(mutex_);
  /// The part of `try_add` and `add_name` that calls inotify. `mask`: what is watched. `number`: inotify's number.
  [[nodiscard]] Added try_watch(int directory, std::uint32_t mask, int& number) PKGFS_REQUIRES(mutex_);
  void report_names(int descriptor, std::uint32_t mask, std::string_view name,
                    FunctionRef<void(const HostChange&)> report) PKGFS_REQUIRES(mutex_);
  void drop(int descriptor, std::uint64_t watch) PKGFS_REQUIRES(mutex_);
  void add_suspect(const std::shared_ptr<NameListener>& listener) PKGFS_REQUIRES(mutex_);

  std::size_t most_;
  int error_ = 0;
  UniqueFd queue_;
  std::atomic<bool> behind_{false};
  mutable Mutex mutex_;
  std::uint64_t limited_ PKGFS_GUARDED_BY(mutex_) = 0;
  std::uint64_t unsupported_ PKGFS_GUARDED_BY(mutex_) = 0;
  std::unordered_map<int, std::vector<std::uint64_t>> watches_ PKGFS_GUARDED_BY(mutex_);      // by inotify's number
  std::unordered_map<std::uint64_t, std::vector<int>> descriptors_ PKGFS_GUARDED_BY(mutex_);  // the reverse
  struct Name {
    std::string name;
    std::uint64_t watch = 0;
    std::shared_ptr<NameListener> listener;
  };
  std::unordered_map<int, std::vector<Name>> names_ PKGFS_GUARDED_BY(mutex_);  // by inotify's number
  std::vector<std::shared_ptr<NameListener>> suspects_ PKGFS_GUARDED_BY(mutex_);
  std::atomic<bool> has_suspects_{false};
  std::atomic<bool> replaced_{false};
  alignas(8) std::array<char, 16384> buffer_ PKGFS_GUARDED_BY(mutex_){};
};

}  // namespace pkgfs::vfs
