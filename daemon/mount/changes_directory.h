// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "core/base/hash.h"
#include "core/base/unique_fd.h"
#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/mount/writable_run.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

/// The file `record` of a directory of changes: above which packages the changes were made, and how they are marked.
struct ChangesRecord {
  std::string package;  // the id, for messages
  std::string given;    // the PACKAGE that the user named; absolute if it is a path
  std::string digest;   // tree_digest
  OverlayEngine engine = OverlayEngine::kKernel;
  MountArguments arguments;  // of the mount that made the directory
  uid_t uid = 0;             // the owner of what the package has
  gid_t gid = 0;
};

/// The hash of what makes the tree: the packages, their dependencies, and the options that change names, modes or
/// conflicts.
[[nodiscard]] std::string tree_digest(const OpenedTree& opened, const TreeFlags& flags);

/// What a caller does with a directory of changes.
enum class ChangesUse { kRead, kChange };

/// A directory with the changes of writable mounts, one after the other:
/// - `upper`: what overlayfs writes, with its marks of removed files;
/// - `work`: its directory for unfinished files;
/// - `record`: a ChangesRecord as JSON;
/// - `packages.lock`: the lock file of the packages, with which they are opened again without the mount.
class ChangesDirectory {
 public:
  /// Opens the directory at `path`, and locks it, so that no other mount or command changes it meanwhile. Throws
  /// Error(kNotFound) if there is none, Error(kUsage) if it is no directory of changes, Error(kBusy) if a mount uses
  /// it, and for kChange also Error if the kernel can't tell that. A caller that only reads gets a warning instead.
  [[nodiscard]] static ChangesDirectory open(const std::string& path, ChangesUse use);
  /// The same for a reader. Takes no lock: a mount may change it.
  [[nodiscard]] static ChangesDirectory look(const std::string& path);
  /// Opens the directory for a mount of `opened`, or makes it. An empty directory becomes one of changes. Throws as
  /// `open`, Error(kUsage) if the directory has something else, Error(kPermission) if another user could replace what
  /// is in it, and Error(kMount) if its changes were made above other packages and `options.rebase` isn't set.
  [[nodiscard]] static ChangesDirectory prepare(const std::string& path, OverlayEngine engine, const OpenedTree& opened,
                                                const MountOptions& options);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string upper() const { return path_ + "/upper"; }
  [[nodiscard]] const ChangesRecord& record() const { return record_; }
  [[nodiscard]] UniqueFd& lock() { return lock_; }

  /// Opens the packages below the changes again, with the options of the mount. Without `commands`, the tree doesn't
  /// show the package commands as files. Throws Error, also if they aren't those of the record any more.
  [[nodiscard]] OpenedTree open_packages(const Io& io, bool commands) const;
  /// After `prepare`: writes the record. Call it when the mount is made; until then, an earlier record stays. Throws
  /// Error.
  void write_record();
  /// After `prepare`, if no mount was made: removes what `prepare` has made. An `upper` that isn't empty stays, with
  /// its record. Failures are logged only.
  void take_back() noexcept;
  /// Removes the changes, the record last. `open` must have locked the directory. Throws Error.
  void discard();

 private:
  explicit ChangesDirectory(std::string path) : path_(std::move(path)) {}
  void lock_for_use(ChangesUse use);
  void read_record();
  /// Throws Error(kPermission) if another user could replace what is in the locked directory.
  void require_own() const;
  /// Makes the directory `upper` or `work`, if it is missing. Throws Error if something else has its name.
  void make_layer(const char* name, ::mode_t mode) const;

  std::string path_;  // canonical
  UniqueFd lock_;
  ChangesRecord record_;
  std::optional<std::string> lock_text_;  // of `packages.lock`, still to be written
  bool is_written_ = false;               // the record
  bool is_fresh_ = false;                 // `prepare` has made it a directory of changes
  bool is_new_ = false;                   // `prepare` has made the directory itself
  ::mode_t mode_before_ = 0;              // of one that `prepare` found empty
};

}  // namespace pkgfs
