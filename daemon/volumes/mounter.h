// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "daemon/mount/mount_table.h"
#include "daemon/volumes/volume_options.h"

namespace pkgfs {

/// Does what has to be done for a volume outside of the plugin's memory, each by a `pkgfs` process of its own: one that
/// resolves and downloads, and one for each mount, which goes on whatever happens to the plugin. Has no state of its
/// own; volumes may be worked on at the same time by different threads, but each by one only.
class Mounter {
 public:
  /// Mounts appear at `mount_root`/NAME, what was resolved is in `state_directory`/packages/NAME.lock. Makes the
  /// directories. Throws Error.
  Mounter(std::string state_directory, std::string mount_root);

  /// Resolves the package and downloads all that a mount needs. A package by name is the same from then on, whatever
  /// the registry says later: it is locked. Throws Error, kInterrupted when cancelled; what the volume had before is
  /// left then.
  void prepare(const std::string& name, const VolumeOptions& options, const CancelFlag& cancel) const;
  /// Returns when the mount answers. Throws Error; nothing is mounted then. A dead mount in the way is cleared.
  void mount(const std::string& name, const VolumeOptions& options, const CancelFlag& cancel) const;
  /// Throws Error(kBusy) while it is used, unless `lazy`. Nothing mounted there is fine.
  void unmount(const std::string& name, bool lazy) const;
  /// Whether what `prepare` left is still there.
  [[nodiscard]] bool is_prepared(const std::string& name, const VolumeOptions& options) const;
  /// Which package the volume's name stands for ("python/python@3.12.5"); empty if that isn't settled.
  [[nodiscard]] std::string resolved(const std::string& name) const;
  /// Clears away everything of a volume, used or not.
  void forget(const std::string& name) const noexcept;
  /// Removes what other volumes than `names` have left in the state directory.
  void forget_all_but(const std::set<std::string>& names) const;

  [[nodiscard]] std::string mountpoint(const std::string& name) const { return mount_root_ + "/" + name; }

  /// What is mounted for a volume.
  struct Found {
    MountState state = MountState::kLive;
    std::string package;  // as df shows it
  };
  /// Our mounts below the mount root, by name. Waits for those that don't answer no longer than a second in all.
  [[nodiscard]] std::map<std::string, Found> find_mounts() const;
  /// Of one volume; only whether it's there, nobody is asked.
  [[nodiscard]] bool is_mounted(const std::string& name) const;

 private:
  [[nodiscard]] std::string lock_path(const std::string& name) const;
  [[nodiscard]] std::string used_lock(const std::string& name, const VolumeOptions& options) const;

  std::string state_directory_;
  std::string mount_root_;
  std::string nowhere_;  // where the processes start: in it no name is a file
};

}  // namespace pkgfs
