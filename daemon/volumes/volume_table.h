// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "daemon/volumes/mounter.h"
#include "daemon/volumes/volume_protocol.h"
#include "daemon/volumes/volume_state.h"

namespace pkgfs {

/// All volumes: which there are, who uses them, and what is being done for each. Thread-safe. What takes time is done
/// without the lock, on a thread of the volume's own and one thing at a time (`Volume::busy`); whoever waits for it
/// does so for a limited time and gets an error that says what is still going on. What is answered with success is in
/// the state file before.
class VolumeTable final : public VolumeDriver {
 public:
  struct Settings {
    std::string state_file;
    /// Engines give up after five seconds, and don't come back for what they asked.
    std::chrono::milliseconds mount_wait{3500};
    /// So that a wrong name is an error of `volume create`, when the registry is quick.
    std::chrono::milliseconds create_wait{2000};
    /// How long a mount that nobody uses stays: docker mounts twice for one container.
    std::chrono::milliseconds keep{10000};
    /// How often mounts in use are looked at.
    std::chrono::milliseconds look_after{5000};
  };

  /// Takes over what the state file has: mounts that live are kept, dead ones that were in use made anew, those of no
  /// volume ended, unfinished downloads begun again. A damaged state file is put aside. Throws Error.
  VolumeTable(Settings settings, Mounter mounter);
  /// Ends what is being done, and the mounts that nobody uses.
  ~VolumeTable() override;

  /// Whoever waits for something gets an error from now on; called before the threads that ask are ended.
  void stop();

  void create(const std::string& name, const DriverOptions& options) override;
  [[nodiscard]] VolumeDescription get(const std::string& name) override;
  [[nodiscard]] std::vector<VolumeDescription> list() override;
  Mounted mount(const std::string& name, const std::string& id) override;
  void unmount(const std::string& name, const std::string& id) override;
  void remove(const std::string& name) override;

 private:
  using Clock = std::chrono::steady_clock;
  using Lock = std::unique_lock<std::mutex>;

  struct Volume {
    VolumeRecord record;
    bool mounted = false;
    bool busy = false;             // somebody works on it; only they change `mounted` and `record.prepared`
    bool wants_mount = false;      // of that work
    bool removed = false;          // on its way out: no longer there for whoever asks
    std::string resolved;          // what `package` turned out to be; empty: not yet, or a path
    std::size_t tries = 0;         // that have ended
    std::optional<Error> problem;  // of the last one
    Clock::time_point idle_since;
    std::unique_ptr<CancelFlag> cancel;  // of the worker
    std::thread worker;                  // has ended, or is about to, when `busy` is false

    [[nodiscard]] std::string package() const;
  };
  using VolumePtr = std::shared_ptr<Volume>;

  void adopt();
  [[nodiscard]] VolumeState load() const;
  [[nodiscard]] VolumePtr find(const std::string& name) const;
  [[nodiscard]] VolumeDescription describe(const Volume& volume) const;
  void save();
  void save_or_warn() noexcept;

  void start_work(const VolumePtr& volume, bool mount);
  void work(const VolumePtr& volume);
  /// Does `job` without the lock, as the only one who works on the volume.
  void work_unlocked(Lock& lock, Volume& volume, const std::function<void()>& job);
  /// False if it's still busy at `deadline`. Throws Error when the plugin stops.
  bool wait_until_free(Lock& lock, const Volume& volume, Clock::time_point deadline);
  /// Returns when the mount is there and answers. Throws Error.
  void ensure_mounted(Lock& lock, const VolumePtr& volume);
  /// Asks the mount whether it lives, and clears it away when it is dead. Throws Error for one that doesn't answer.
  void check_mount(Lock& lock, Volume& volume);
  /// Takes a volume that isn't busy out of the table and clears away what it has. Throws Error; it stays then.
  void drop(Lock& lock, const VolumePtr& volume);

  void keep_mounts();
  void end_idle_mounts(Lock& lock);
  void renew_dead_mounts(Lock& lock);
  [[nodiscard]] std::vector<VolumePtr> all() const;
  [[nodiscard]] Clock::time_point next_look() const;

  const Settings settings_;
  const Mounter mounter_;
  const std::string boot_ = current_boot();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, VolumePtr> volumes_;
  bool stopping_ = false;
  std::thread keeper_;  // ends idle mounts, renews dead ones
};

}  // namespace pkgfs
