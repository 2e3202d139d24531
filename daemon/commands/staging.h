// SPDX-License-Identifier: MIT
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

#include "core/base/cancel.h"
#include "core/base/unique_fd.h"
#include "daemon/commands/staging_area.h"

namespace pkgfs {

/// A directory that gets its contents all at once. They are written into a hidden directory on the same file system:
/// beside the target, which it then becomes, or inside a target that exists, whose entries then go up. So the target
/// keeps its owner, mode and inode number, and may be a mount point or have some below. A process that is killed leaves
/// the hidden directory behind, with the files that it had replaced; the next one for this target says so.
class Staging {
 public:
  /// Prepares for the target `path`. `force` allows a directory that isn't empty. Throws Error naming `path`.
  Staging(std::string path, bool force);
  /// Leaves the target as it was, unless it was published.
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// The directory to write to. It gets the mode and times that the target shall have.
  [[nodiscard]] UniqueFd open() const;
  /// Puts everything into its place. A target that existed keeps its mode; entries that have the name of a new one are
  /// replaced, directories merged. Throws Error, kInterrupted if it is cancelled, and the target is as before then.
  /// What can't be put back is told as a warning. From then on, only a second signal ends the process (InterruptGuard).
  void publish(const CancelFlag& cancel);

 private:
  void stage_inside(bool force);
  void stage_beside();
  void merge(const CancelFlag& cancel);

  std::string path_;
  std::string leaf_;      // the last component of the target; empty if the target exists
  UniqueFd place_;        // the directory that the hidden one is in
  struct stat before_{};  // of `place_`
  std::optional<StagingArea> area_;
};

}  // namespace pkgfs
