// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/base/unique_fd.h"
#include "daemon/cli/options.h"
#include "daemon/mount/changes_directory.h"
#include "daemon/mount/writable_run.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

/// Throws Error(kUsage) for what can't be used together with --writable, or only with it.
void refuse_with_writable(const MountOptions& options);

/// What a writable mount needs before it is made: the directories, the record of what the changes belong to, and the
/// locks. `pkgfs mount` makes it before the fork, and both processes have it. The destructor undoes everything,
/// mounts included, unless `keep` was called.
class WritablePlace {
 public:
  /// Throws Error; then nothing stays. See ChangesDirectory::prepare and `refuse_with_writable`.
  WritablePlace(const MountOptions& options, const std::string& mountpoint, const OpenedTree& opened);
  ~WritablePlace();
  WritablePlace(const WritablePlace&) = delete;
  WritablePlace& operator=(const WritablePlace&) = delete;

  [[nodiscard]] const WritableRun& run() const { return run_; }
  /// The directory of changes, whose record is still to be written: it is for the process that mounts.
  [[nodiscard]] std::optional<ChangesDirectory> take_changes();
  /// Duplicates of the locks on the run directory and on the directory of changes.
  [[nodiscard]] std::vector<UniqueFd> locks() const;
  /// The daemon cleans up from now on.
  void keep() { kept_ = true; }
  /// Does at once what the destructor does.
  void undo() noexcept;

 private:
  void make_run_directory();
  void make_place_of_changes(const MountOptions& options);

  WritableRun run_;
  std::vector<UniqueFd> locks_;
  std::optional<ChangesDirectory> changes_;
  bool kept_ = false;
};

/// The overlay above the mount of the package, which the daemon serves, or the kernel. Not thread-safe.
class WritableMount {
 public:
  /// `locks` are those of the place; a successor gets them from the daemon before. `changes` get their record when the
  /// overlay is mounted.
  WritableMount(WritableRun run, std::vector<UniqueFd> locks, std::optional<ChangesDirectory> changes);
  /// The one of a daemon before. `lower` is the mount point of its FUSE mount. Throws Error.
  [[nodiscard]] static WritableMount adopt(const std::string& lower, std::vector<UniqueFd> locks);

  /// Makes the overlay. The lower mount must be served already: the kernel looks into it. `prepare` is that of
  /// `mount_overlay`. Throws Error.
  void attach(const MountOptions& options, const std::string& source,
              const std::function<void(int root)>& prepare = {});
  /// Whether the overlay is mounted in the mount namespace of this process.
  [[nodiscard]] bool is_attached() const;
  /// Becomes readable when the mount table changes. Owned by this.
  [[nodiscard]] int changed_fd() const { return changed_.get(); }
  /// Call it when `changed_fd` is readable, before `is_attached`.
  void take_change() const;
  /// The overlay is gone: detaches the FUSE mount. The mount ends when no container uses the overlay any more.
  void detach_lower() const noexcept;
  /// Detaches the overlay, used or not.
  void detach() const noexcept;
  /// Removes the run, with the changes that end with it. A FUSE mount must have ended.
  void finish() const noexcept { end_run(run_); }

  [[nodiscard]] const std::string& mountpoint() const { return run_.mountpoint; }
  /// Descriptors for a successor. They keep the locks while the keeper has them.
  [[nodiscard]] std::vector<int> locks() const;

 private:
  WritableRun run_;
  std::vector<UniqueFd> locks_;
  std::optional<ChangesDirectory> changes_;
  UniqueFd table_;    // /proc/self/mountinfo
  UniqueFd changed_;  // an epoll(7) of it
};

}  // namespace pkgfs
