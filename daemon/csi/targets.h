// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "daemon/mount/mount_table.h"

// Functions for target paths: the directories at which pods get their volumes. `target` is an absolute path without
// symbolic links (resolve_mountpoint).
namespace pkgfs::csi {

/// Makes the directory `target`, if it is missing. Throws Error naming it if it can't be made, or is no directory.
void make_target(const std::string& target);

/// Shows the directory `sub_path` of the mount at `source` at `target`, too. Links in the package are followed inside
/// of the package only. Throws Error: kUsage if `sub_path` is no directory, kBusy if the mount doesn't answer within
/// `limit`.
void bind_target(const std::string& source, const std::string& sub_path, const std::string& target,
                 std::chrono::milliseconds limit);

/// Throws Refusal(FAILED_PRECONDITION) if a mount of another program is on top of `target`.
void refuse_foreign_mount(const std::string& target);

/// Detaches all mounts of pkgfs at `target`, used or not, and removes the directory. Nothing happens if there is none.
/// Throws Refusal(FAILED_PRECONDITION) if a mount of another program is on top, or the directory isn't empty: the
/// driver removes no files.
void remove_target(const std::string& target);

/// The same, but keeps the directory.
void unbind_target(const std::string& target);

/// Numbers of the file system at a path.
struct FileSystemSize {
  std::uint64_t bytes = 0;
  std::uint64_t free_bytes = 0;
  std::uint64_t inodes = 0;
};
/// Nothing if the file system doesn't answer in time.
[[nodiscard]] std::optional<FileSystemSize> measure(const std::string& path);

}  // namespace pkgfs::csi
