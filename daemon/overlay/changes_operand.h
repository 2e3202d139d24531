// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/vfs/file_system.h"
#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/mount/changes_directory.h"
#include "daemon/overlay/changes.h"
#include "daemon/overlay/upper_tree.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

/// The MOUNTPOINT|DIR of `changes`, `discard` and `pack`.
struct ChangesPlace {
  std::string directory;             // of the changes
  std::optional<WritableRun> mount;  // they are in use
};
/// Finds the changes that `text` names: a writable mount, or a directory with a file `record`. Nothing if it is
/// neither. Throws Error(kUsage) for a mount of pkgfs that isn't writable.
[[nodiscard]] std::optional<ChangesPlace> find_changes(const std::string& text);
/// The Error for a text that names no changes.
[[nodiscard]] Error no_changes(const std::string& text);

/// Changes, and the tree below them: the mount of the package if this process sees it, else the packages, which are
/// opened again.
class OpenedChanges {
 public:
  /// Throws Error.
  OpenedChanges(const ChangesPlace& place, const Io& io);

  [[nodiscard]] const ChangesDirectory& directory() const { return directory_; }
  [[nodiscard]] const MergedTree& tree() const { return *tree_; }
  [[nodiscard]] ShownAs shown() const;

 private:
  ChangesDirectory directory_;
  UpperTree upper_;
  std::optional<OpenedTree> opened_;
  std::unique_ptr<vfs::FileSystem> mounted_;
  std::optional<MergedTree> tree_;
};

}  // namespace pkgfs
