// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/load/directory_package.h"
#include "core/vfs/live_overlay_file_system.h"
#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/packages/open_tree.h"
#include "daemon/packages/running_opener.h"

namespace pkgfs {

/// A mounted package directory that takes over changes of its `wasmer.toml` (--follow-manifest). Only one thread at a
/// time may use it, except for `cancel`.
class FollowedTree {
 public:
  /// `opened` is what `open_tree` gave for `package` and `flags`. `reload` uses its file system. To be made in the
  /// working directory in which the tree was opened. `io` is copied. Throws Error(kUsage) if the package isn't a
  /// directory.
  FollowedTree(const OpenedTree& opened, std::string package, const TreeFlags& flags, const Io& io);
  FollowedTree(const FollowedTree&) = delete;
  FollowedTree& operator=(const FollowedTree&) = delete;
  ~FollowedTree();

  [[nodiscard]] const FollowedPackage& package() const { return root_->followed(); }
  /// The hash of the manifest that the tree shows.
  [[nodiscard]] const Sha256& manifest_hash() const { return root_->manifest_hash(); }
  /// The packages of the tree.
  [[nodiscard]] const LoadedPackages& packages() const { return packages_; }

  /// Loads the package as it is now, and makes the file system show it. If the root's dependencies are the same as
  /// before, the same packages are used for them. Otherwise they are resolved anew, which may take the network and its
  /// threads; only containers that have the same hash as before are used again. `check` is called with the new tree,
  /// and may refuse it by an Error. `own_device` is that of the mount (DirectoryPackage::reopen). Throws Error, and
  /// then the file system shows what it showed before.
  void reload(std::uint64_t own_device, const std::function<void(const PackageTree&)>& check);
  /// As LiveOverlayFileSystem::drop_former.
  void drop_former() noexcept { shown_.drop_former(); }
  /// Makes a running `reload` and all later ones end with Error(kInterrupted). Any thread may call it.
  void cancel() noexcept;

 private:
  class Running;
  /// Lets `opener` find the dependencies of `info`, the root.
  void prepare(PackageOpener& opener, const PackageInfo& info) const;

  std::string text_;  // as the command line has it, but absolute
  TreeFlags flags_;
  Io io_;
  std::shared_ptr<const DirectoryPackage> root_;
  vfs::LiveOverlayFileSystem& shown_;
  Resolution resolution_;
  LoadedPackages packages_;
  RunningOpener running_;
};

}  // namespace pkgfs
