// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/unique_fd.h"
#include "daemon/mount/mount_table.h"

// A writable mount (`pkgfs mount --writable`) is two mounts: an overlay at the mount point that the user named, and the
// mount of the package in a run directory, which only the user of the daemon may enter. A daemon serves the mount of
// the package, or the kernel does, from an image (image_mount.h). Users see both mounts as one.
namespace pkgfs {

/// What serves the overlay. It decides how removed files and replaced directories are marked among the changes.
enum class OverlayEngine {
  kKernel,         // overlayfs, as root: attributes trusted.overlay.*
  kKernelForUser,  // overlayfs, as root of a user namespace: attributes user.overlay.*
  kFuse,           // fuse-overlayfs, a program for users without privileges
};
/// What this process can use: kKernel or kKernelForUser for root, kFuse for any other user.
[[nodiscard]] OverlayEngine overlay_engine();
[[nodiscard]] const char* to_string(OverlayEngine engine);
[[nodiscard]] std::optional<OverlayEngine> overlay_engine_named(const std::string& name);

/// The type under which the kernel lists mounts of fuse-overlayfs.
inline constexpr std::string_view kFuseOverlayType = "fuse.fuse-overlayfs";

/// A run directory, and what its file `mount.json` says. The daemon of the mount and its keeper hold a lock on the
/// directory (flock(2)), or the process that waits for the end of a mount of an image (writable_image.h). If the lock
/// is free, they have ended.
struct WritableRun {
  std::string directory;   // of the run, such as /run/pkgfs/writable/0123456789abcdef
  std::string mountpoint;  // where the overlay is
  std::string changes;     // the directory of the changes: upper, work and record
  OverlayEngine engine = OverlayEngine::kKernel;
  bool discards = false;  // the changes end with the mount
  bool is_tmpfs = false;  // `changes` is a file system in memory, made for this mount
  bool is_image = false;  // the kernel serves the package

  /// Where the mount of the package is.
  [[nodiscard]] std::string lower() const { return directory + "/lower"; }
  [[nodiscard]] std::string upper() const { return changes + "/upper"; }

  /// Throws Error.
  void write() const;
  /// Nothing if there is no such file. Throws Error(kCorrupt) if it isn't of the expected form.
  [[nodiscard]] static std::optional<WritableRun> read(const std::string& directory);
};

/// The directory with the run directories of this user.
[[nodiscard]] std::string run_base();
/// Opens `run_base`, which can be locked, and makes it if `make` is set; nothing if there is none. Throws
/// Error(kPermission) if it or a directory of pkgfs above it isn't of this user alone: in /tmp, each user can make it.
[[nodiscard]] UniqueFd open_run_base(bool make);
/// The directory of changes that end with their mount, in a directory with the name of the run. Empty: there is none,
/// because HOME isn't set.
[[nodiscard]] std::string changes_base();
/// Whether a run directory can have the name.
[[nodiscard]] bool is_run_id(const std::string& name);
/// The run whose lower mount is at `lower`, if that is a path in a run directory, of whichever user. Asks no file.
[[nodiscard]] std::optional<std::string> run_directory_of(const std::string& lower);
/// All runs of this user. Leaves out those that can't be read.
[[nodiscard]] std::vector<WritableRun> all_runs();
/// Takes the lock of a run; nothing if a process holds it.
[[nodiscard]] std::optional<UniqueFd> lock_directory(const std::string& path);

/// The path of the mount below the overlay `mount`, if that is the overlay of a writable mount.
[[nodiscard]] std::optional<std::string> lower_of(const MountEntry& mount);
/// The overlay of the mount at `lower`, wherever it was moved.
[[nodiscard]] std::optional<MountEntry> overlay_above(const std::string& lower, const std::vector<MountEntry>& table);
/// If `mount` is the lower mount of an overlay, turns it into the writable mount that users see: with the mount point
/// and the options of the overlay, and the place of the lower mount as `served_at`.
void show_as_overlay(MountEntry& mount, const std::vector<MountEntry>& table);

/// The topmost mount of pkgfs at `path`. If it is a writable mount, the entry is that of its lower mount, with the
/// mount point and the options of the overlay (MountEntry::served_at). If this process doesn't see the lower mount, the
/// entry has its type, and no device. Throws Error if /proc can't be read.
[[nodiscard]] std::optional<MountEntry> find_package_mount(const std::string& path);
/// The run of the writable mount at `path`, also if only a part of it is still mounted.
[[nodiscard]] std::optional<WritableRun> find_run(const std::string& path);

/// Detaches the overlay above the mount at `lower`, used or not, wherever it was moved. False, with a warning, if
/// another file system is mounted above it: the kernel would detach that one. Throws Error.
bool detach_overlay(const std::string& lower);
/// Whether the overlay above an image still exists. No process needs to serve it, so it can outlive the one that waits
/// for its end, in another mount namespace too, or detached from all. Also true, with a warning, if that can't be found
/// out: what may be in use must stay. False for a mount that a daemon serves: its end is that of the daemon and its
/// keeper.
[[nodiscard]] bool outlives_its_process(const WritableRun& run);
/// Unmounts what is left of the mount, and removes the run directory, with the changes if they end with the mount.
/// Only changes in `changes_base` are removed. Does nothing while another file system is mounted above the overlay.
/// Failures are logged only. Call it if the daemon has ended, or in the daemon.
void end_run(const WritableRun& run) noexcept;
/// What earlier writable mounts have left: runs whose daemons have ended and whose overlays are gone, and changes that
/// should have ended with a mount, but whose run directory is gone, as after a boot.
class StaleRuns {
 public:
  /// Takes their locks. The caller holds the lock on `run_base`, so that no process is just making a run.
  [[nodiscard]] static StaleRuns claim() noexcept;
  /// Removes them. This may take long, so no other process should have to wait for it.
  void end() noexcept;

 private:
  std::vector<std::pair<WritableRun, UniqueFd>> runs_;
  std::vector<std::pair<std::string, UniqueFd>> changes_;
};
/// Waits until the daemon has ended the run, whose overlay is unmounted, or ends it instead of a daemon that has ended.
/// False: the overlay is still used, as in a container. If no process waits for its end, returns that at once.
bool wait_for_end(const WritableRun& run, std::chrono::milliseconds limit);

}  // namespace pkgfs
