// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "daemon/mount/mount_probe.h"
#include "daemon/volumes/own_command.h"
#include "daemon/volumes/volume_options.h"

namespace pkgfs {

/// Prepares, mounts and unmounts volumes. Short `pkgfs` processes resolve and fetch; each mount has a process of its
/// own, which continues when the plugin ends. All state is on the disk and in the kernel's mount table. Several threads
/// may work on different volumes at the same time, but only one thread on each volume.
class Mounter {
 public:
  /// Mounts appear at `mount_root`/NAME. The lock file `state_directory`/packages/NAME.lock holds the packages that
  /// were chosen. Creates the directories. Runs `program`. Throws Error.
  Mounter(std::string state_directory, std::string mount_root, OwnProgram program = {});

  /// Resolves the package and opens its tree once, so that a mount is quick: of packages that can be lazy, fetches the
  /// directory data, and downloads the others. Writes a lock file for a package that is given by name, so that later
  /// mounts show the same versions. Throws Error, kInterrupted when cancelled; then the volume keeps its earlier lock
  /// file, if it had one. `variables` are for the environment of the processes (own_command.h).
  void prepare(const std::string& name, const VolumeOptions& options, const CancelFlag& cancel,
               const std::vector<std::string>& variables = {}) const;
  /// Returns when the mount answers. Clears a dead mount at its mount point. Throws Error; then nothing is mounted.
  void mount(const std::string& name, const VolumeOptions& options, const CancelFlag& cancel,
             const std::vector<std::string>& variables = {}) const;
  /// Does nothing if the volume is not mounted. Throws Error(kBusy) while the mount is used, unless `lazy`.
  void unmount(const std::string& name, bool lazy) const;
  /// Whether the lock file that `prepare` wrote still exists. True for a volume that needs no lock file.
  [[nodiscard]] bool is_prepared(const std::string& name, const VolumeOptions& options) const;
  /// The id of the package that the volume shows ("python/python@3.12.5"), from its lock file; empty without one.
  [[nodiscard]] std::string resolved(const std::string& name) const;
  /// Unmounts the volume, used or not, and removes its files and changes. Failures are logged.
  void forget(const std::string& name) const noexcept;
  /// Removes the files of all volumes that are not among `names`. Their changes are set aside: the list of volumes may
  /// have been lost.
  void forget_all_but(const std::set<std::string>& names) const;
  /// For a new volume: sets changes aside that one of the same name has left. Throws Error if that fails.
  void refuse_old_changes(const std::string& name) const;

  [[nodiscard]] std::string mountpoint(const std::string& name) const { return mount_root_ + "/" + name; }

  /// A mount of a volume.
  struct Found {
    MountState state = MountState::kLive;
    std::string package;  // the source that df(1) shows
  };
  /// The mounts of pkgfs directly below the mount root, by volume name. Takes at most a second, even if many of them do
  /// not answer. Throws Error.
  [[nodiscard]] std::map<std::string, Found> find_mounts() const;
  /// Whether the mount table has a mount of the volume. The mount itself is not asked.
  [[nodiscard]] bool is_mounted(const std::string& name) const;
  /// The path at which the daemon of the volume's mount can be asked (MountEntry::asked_path).
  [[nodiscard]] std::string asked_path(const std::string& name) const;

 private:
  [[nodiscard]] std::string lock_path(const std::string& name) const;
  /// The directory of changes of a writable volume.
  [[nodiscard]] std::string changes_path(const std::string& name) const;
  /// Moves the changes of the volume to a directory of its own below `.orphans`, whose path it returns; nothing if
  /// there are none. Throws Error.
  [[nodiscard]] std::optional<std::string> set_aside(const std::string& name) const;
  /// Empty if the volume has no lock file of its own.
  [[nodiscard]] std::string used_lock(const std::string& name, const VolumeOptions& options) const;

  std::string state_directory_;
  std::string mount_root_;
  OwnProgram program_;
  std::string empty_directory_;  // the working directory of the processes: there, no package name is a file's name
};

}  // namespace pkgfs
