// SPDX-License-Identifier: MIT
#pragma once

#include <sys/stat.h>

#include <string>

#include "core/base/cancel.h"
#include "core/base/unique_fd.h"

namespace pkgfs {

/// A directory that gets its contents all at once. They are written into a hidden directory on the same file system:
/// beside the target, which it then becomes, or inside a target that exists, whose entries then go up. So the target
/// keeps its owner, mode and inode number, and may be a mount point. A process that is killed leaves the hidden
/// directory behind.
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
  void publish(const CancelFlag& cancel);

 private:
  void stage_inside(bool force);
  void stage_beside();
  void make_hidden(const std::string& prefix, const std::string& what);
  void merge(const CancelFlag& cancel);
  /// Removes the hidden directory.
  void remove();

  std::string path_;
  std::string leaf_;      // the last component of the target; empty if the target exists
  UniqueFd place_;        // the directory that the hidden one is in
  struct stat before_{};  // of `place_`
  std::string hidden_;    // its name; empty when it is gone
  UniqueFd staging_;      // the hidden directory
  UniqueFd tree_;         // the directory to write to, which it is or has
  bool is_lost_ = false;  // it has files of the target that could not be put back
};

}  // namespace pkgfs
