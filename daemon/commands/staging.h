// SPDX-License-Identifier: MIT
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <utility>

#include "core/base/cancel.h"
#include "core/base/unique_fd.h"
#include "daemon/commands/staging_area.h"

namespace pkgfs {

/// Fills a target directory all at once. The contents are first written into a hidden directory on the same file
/// system. If the target doesn't exist, the hidden directory is next to it, and is then renamed to the target. If the
/// target exists, the hidden directory is in it, and its entries are then moved up. So an existing target keeps its
/// owner, mode and inode number, and may be or contain a mount point. If a process is killed, its hidden directory
/// stays, with the files that were replaced. The next extraction to the same target warns of it.
class Staging {
 public:
  /// Prepares for the target `path`. `force` allows a directory that isn't empty. Throws Error naming `path`.
  Staging(std::string path, bool force);
  /// Throws Error as the constructor does if the target can't be made or may not be filled, but makes nothing: for a
  /// check before long work.
  static void check(const std::string& path, bool force);
  /// Removes the hidden directory, unless it holds files that can't be put back. If nothing was published, the target
  /// stays as it was.
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// The directory to write to. The target gets its times and, if the target is new, its mode.
  [[nodiscard]] UniqueFd open() const;
  /// Moves the contents to the target. An existing target keeps its mode. A new entry replaces one of the same name,
  /// and directories are merged. Throws Error, kInterrupted if it is cancelled; then the target is as before. Warns of
  /// each entry that can't be put back. If the target exists, only a second signal ends the process from then on
  /// (InterruptGuard).
  void publish(const CancelFlag& cancel);

 private:
  explicit Staging(std::string path) : path_(std::move(path)) {}
  void find_place(bool force);
  void find_parent(const std::string& what);
  void prepare();
  void merge(const CancelFlag& cancel);

  std::string path_;
  std::string leaf_;      // the last component of the target; empty if the target exists
  UniqueFd place_;        // the directory that the hidden one is in
  struct stat before_{};  // of `place_`
  std::optional<StagingArea> area_;
};

}  // namespace pkgfs
