// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/thread_annotations.h"
#include "daemon/volumes/mounter.h"
#include "daemon/volumes/volume_protocol.h"
#include "daemon/volumes/volume_state.h"

namespace pkgfs {

/// A request named a volume that the table doesn't have, or no longer.
class NoSuchVolume final : public Error {
 public:
  explicit NoSuchVolume(const std::string& name) : Error(ErrorCode::kNotFound, "no such volume: " + name) {}
};

/// All volumes, their users, and the work that is going on for them. Thread-safe. The table saves a change in the state
/// file before it reports success to the engine. If it can't save after an unmount, it only logs a warning, because the
/// engine can't act on an error.
///
/// Slow work (downloading, mounting, unmounting) runs without the lock, one job at a time for each volume
/// (`Volume::busy`). A request that needs the result of a job waits for a limited time. Then it fails with an error
/// that names the job.
class VolumeTable final : public VolumeDriver {
 public:
  using Clock = std::chrono::steady_clock;

  struct Settings {
    std::string state_file;
    /// How long a request may wait for a mount. Podman gives up after five seconds, and does not ask again.
    std::chrono::milliseconds mount_wait{3500};
    /// How long `create` waits for the resolution, so that it can report that a package does not exist.
    std::chrono::milliseconds create_wait{2000};
    /// How long an unused mount stays. Docker mounts, unmounts and mounts again for one container.
    std::chrono::milliseconds keep{10000};
    /// How often mounts in use are checked.
    std::chrono::milliseconds look_after{5000};
    /// Whether the table removes a volume that is unused for the time `keep`, for an orchestrator that names a volume
    /// only while it uses it. A volume that never had a user stays for the time `unclaimed`, because the orchestrator
    /// asks again after a download that took too long.
    bool forgets = false;
    std::chrono::milliseconds unclaimed{150000};
    /// For lock files that requests contain. No other program writes there: the table removes what no volume uses.
    std::string lock_directory = {};
  };

  /// Reads the state file. Keeps live mounts, and replaces dead mounts that were in use. Unmounts a mount that belongs
  /// to no volume, and starts unfinished downloads again. Renames a damaged state file and starts without volumes.
  /// Throws Error.
  VolumeTable(Settings settings, Mounter mounter);
  /// Cancels the work, waits for its threads, and unmounts the volumes that have no users.
  ~VolumeTable() override;

  /// From now on, requests that wait fail with an error. Call it before the threads that make requests are joined.
  void stop();

  void create(const std::string& name, const DriverOptions& options) override { create(name, options, {}); }
  /// `variables` are for the environment of the processes that work for the volume (own_command.h): secrets. They are
  /// held in memory only, and replace those of an earlier call. A volume that was read from the state file has none.
  /// `lock_text` is the content of the lock file that the options name, in the directory for such files; empty: the
  /// file is not the table's. Waits no longer than until `deadline`.
  void create(const std::string& name, const DriverOptions& options, std::vector<std::string> variables,
              const std::string& lock_text = {}, Clock::time_point deadline = Clock::time_point::max());
  [[nodiscard]] VolumeDescription get(const std::string& name) override;
  [[nodiscard]] std::vector<VolumeDescription> list() override;
  Mounted mount(const std::string& name, const std::string& id) override {
    return mount(name, id, Clock::now() + settings_.mount_wait);
  }
  /// Waits no longer than until `deadline`.
  Mounted mount(const std::string& name, const std::string& id, Clock::time_point deadline);
  void unmount(const std::string& name, const std::string& id) override;
  void remove(const std::string& name) override;

  /// A user of a volume.
  struct User {
    std::string volume;
    DriverOptions options;  // of the volume
    std::string id;         // as `mount` got it
  };
  [[nodiscard]] std::vector<User> users();
  /// Where the volume is mounted, if it is.
  [[nodiscard]] std::string mountpoint(const std::string& name) const { return mounter_.mountpoint(name); }

 private:
  using Lock = MutexLock;

  struct Volume {
    VolumeRecord record;
    bool mounted = false;
    bool busy = false;             // a thread works on it; only that thread changes `mounted` and `record.prepared`
    bool wants_mount = false;      // that thread mounts it after preparing it
    bool removed = false;          // it is being removed, and requests no longer find it
    std::string resolved;          // the id of the package that was chosen; empty: not resolved yet, or a path
    std::size_t tries = 0;         // attempts that have ended
    std::optional<Error> problem;  // the error of the last attempt; none if it succeeded
    std::chrono::milliseconds pause{};  // until the next attempt to make a dead mount anew; it grows
    Clock::time_point renew_at;         // the time of that attempt
    bool had_user = false;
    Clock::time_point idle_until;        // then its mount ends, unless it has a user
    std::vector<std::string> variables;  // for the environment of its processes
    std::unique_ptr<CancelFlag> cancel;  // cancels the work of `worker`
    std::thread worker;                  // has ended or is about to end when `busy` is false

    [[nodiscard]] std::string package() const;
  };
  using VolumePtr = std::shared_ptr<Volume>;

  void adopt();
  /// Removes lock files in the directory of the table that no volume names.
  void clear_locks() const PKGFS_REQUIRES(mutex_);
  /// The path of the lock file of a volume, if the file is the table's; else empty.
  [[nodiscard]] std::string own_lock(const DriverOptions& options) const;
  [[nodiscard]] VolumeState load() const;
  [[nodiscard]] VolumePtr find(const std::string& name) const PKGFS_REQUIRES(mutex_);
  [[nodiscard]] VolumeDescription describe(const Volume& volume) const PKGFS_REQUIRES(mutex_);
  void save() PKGFS_REQUIRES(mutex_);
  void save_or_warn() noexcept PKGFS_REQUIRES(mutex_);

  /// If no thread can be started, stores the error in `volume->problem`.
  void start_work(const VolumePtr& volume, bool mount) PKGFS_REQUIRES(mutex_);
  /// Stops, and waits for the threads of all volumes. These need the mutex, so the caller doesn't hold it; no other
  /// thread adds or removes volumes then.
  void end_workers() PKGFS_NO_THREAD_SAFETY_ANALYSIS;
  void work(const VolumePtr& volume);
  /// Runs `job` without the lock, with the volume marked as busy.
  void work_unlocked(Lock& lock, Volume& volume, const std::function<void()>& job) PKGFS_REQUIRES(mutex_);
  /// False if the volume is still busy at `deadline`. Throws Error when the plugin stops.
  bool wait_until_free(Lock& lock, const Volume& volume, Clock::time_point deadline) PKGFS_REQUIRES(mutex_);
  /// Returns when the volume is mounted and the mount answers. Throws Error.
  void ensure_mounted(Lock& lock, const VolumePtr& volume, Clock::time_point deadline) PKGFS_REQUIRES(mutex_);
  /// Checks whether the mount answers, and unmounts it if it is dead. Throws Error if it does not answer in time.
  void check_mount(Lock& lock, Volume& volume) PKGFS_REQUIRES(mutex_);
  /// Removes a volume that is not busy, with its mount and its files. Throws Error and keeps the volume if the state
  /// file can't be written.
  void drop(Lock& lock, const VolumePtr& volume) PKGFS_REQUIRES(mutex_);

  void keep_mounts();
  /// When the volume ends, if no user comes.
  [[nodiscard]] Clock::time_point idle_end(const Volume& volume) const {
    return Clock::now() + (settings_.forgets && !volume.had_user ? settings_.unclaimed : settings_.keep);
  }
  /// Whether the volume has no users, and holds a mount or a place in the table that ends at `idle_until`.
  [[nodiscard]] bool is_idle(const Volume& volume) const;
  void end_idle_mounts(Lock& lock) PKGFS_REQUIRES(mutex_);
  void renew_dead_mounts(Lock& lock) PKGFS_REQUIRES(mutex_);
  /// Whether the volume has users and no mount: an attempt to make it anew has failed.
  [[nodiscard]] static bool lacks_mount(const Volume& volume) {
    return !volume.mounted && !volume.busy && !volume.removed && !volume.record.ids.empty();
  }
  [[nodiscard]] std::vector<VolumePtr> all() const PKGFS_REQUIRES(mutex_);
  [[nodiscard]] Clock::time_point next_look() const PKGFS_REQUIRES(mutex_);

  const Settings settings_;
  const Mounter mounter_;
  const std::string boot_ = current_boot();
  Mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, VolumePtr> volumes_ PKGFS_GUARDED_BY(mutex_);
  bool stopping_ PKGFS_GUARDED_BY(mutex_) = false;
  std::thread keeper_;  // unmounts idle volumes, replaces dead mounts
};

}  // namespace pkgfs
