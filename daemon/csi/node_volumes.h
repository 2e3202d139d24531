// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "core/base/thread_annotations.h"
#include "daemon/csi/attributes.h"
#include "daemon/csi/publication.h"
#include "daemon/csi/targets.h"
#include "daemon/volumes/volume_table.h"

namespace pkgfs::csi {

/// The volumes of the pods of this node. A VolumeTable has one mount for each set of equal options and secrets. Each
/// pod gets a bind of it, or of a directory in it, at its target path. Thread-safe: different targets are worked on at
/// the same time; a call for a target that is worked on ends with ABORTED, as CSI wants it.
///
/// A thread looks at all targets again and again. If a mount was made anew because its daemon and its keeper had
/// ended, the thread binds it again. A container that runs keeps the dead mount until it is started again.
class NodeVolumes {
 public:
  struct Counts {
    std::size_t mounts = 0;
    std::size_t publications = 0;
    std::uint64_t rebinds = 0;
  };
  struct Health {
    MountState state = MountState::kLive;
    bool was_rebound = false;  // containers that ran keep a dead mount
    std::optional<FileSystemSize> size;
  };
  struct Times {
    std::chrono::milliseconds look_after;    // from one look at all targets to the next
    std::chrono::milliseconds publish_wait;  // for a whole publish; a second more for a mount that is there
  };

  /// Takes over the publications in the table whose targets still have a mount, and forgets the others.
  NodeVolumes(VolumeTable& table, AttributePolicy policy, Times times);
  ~NodeVolumes();
  NodeVolumes(const NodeVolumes&) = delete;
  NodeVolumes& operator=(const NodeVolumes&) = delete;

  /// Shows a volume at `target`. Does nothing if it is there already. Throws Error, or Refusal: ALREADY_EXISTS if
  /// another volume is there, FAILED_PRECONDITION for a mount of another program.
  void publish(const std::string& volume_id, const std::string& target, const StringMap& attributes,
               const StringMap& secrets);
  /// Works with a dead daemon, and for volumes that this object doesn't know.
  void unpublish(const std::string& volume_id, const std::string& target);
  /// Throws Refusal(NOT_FOUND) unless the volume is at `target`.
  [[nodiscard]] Health health(const std::string& volume_id, const std::string& target);
  [[nodiscard]] Counts counts();

 private:
  struct Known {
    Publication publication;
    std::string volume;  // in the table
    DriverOptions options;
  };
  class Claim;

  void adopt();
  /// The user of the table that serves `target`. Throws Refusal(ALREADY_EXISTS) if it shows something else.
  std::optional<Known> find_same(const std::string& volume_id, const std::string& target, const VolumeRequest& request)
      PKGFS_EXCLUDES(mutex_);
  /// Mounts the volume `volume` of the table, with `id` as its user. Makes it first, if it is that of `request`.
  void mount(const std::string& volume, const VolumeRequest& request, const std::string& id,
             VolumeTable::Clock::time_point deadline);
  /// Takes a publication that failed back.
  void undo(const Publication& publication, const std::string& volume) noexcept;
  /// Whether the mount at the target is that of the volume.
  [[nodiscard]] bool is_shown(const std::string& volume, const std::string& target) const;
  /// Logs a failure at a target once. `warned` has what was logged.
  void look_after_targets(std::map<std::string, std::string>& warned) PKGFS_EXCLUDES(mutex_);
  void look_after(const std::string& target) PKGFS_EXCLUDES(mutex_);
  /// Shows the volume at a target that has a dead mount or none, and marks the publication. The caller has the claim.
  void show_anew(const Known& known, std::chrono::milliseconds limit) PKGFS_EXCLUDES(mutex_);

  VolumeTable& table_;
  const AttributePolicy policy_;
  const Times times_;
  Mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Known> known_ PKGFS_GUARDED_BY(mutex_);  // by target
  std::set<std::string> claimed_ PKGFS_GUARDED_BY(mutex_);       // targets that are worked on
  std::string looked_after_ PKGFS_GUARDED_BY(mutex_);            // the one of them that `keeper_` works on, if any
  bool stopping_ PKGFS_GUARDED_BY(mutex_) = false;
  std::atomic<std::uint64_t> rebinds_ = 0;
  std::thread keeper_;
};

}  // namespace pkgfs::csi
