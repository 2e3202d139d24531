// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pkgfs {

/// The type under which the kernel lists the mounts of pkgfs.
inline constexpr std::string_view kMountType = "fuse.pkgfs";
/// The same for mounts of images (image_mount.h), and of all other images of EROFS.
inline constexpr std::string_view kImageType = "erofs";

/// One line of /proc/self/mountinfo (proc(5)).
struct MountEntry {
  std::string mountpoint;
  std::string type;
  std::string source;
  std::string options;         // of the mount, comma-separated
  std::string super_options;   // of the file system, the same
  std::string device;          // "0:53"
  std::string served_at = {};  // of a writable mount (writable_run.h): where the mount below it is; else empty

  /// The path at which the daemon of the mount can be asked.
  [[nodiscard]] const std::string& asked_path() const { return served_at.empty() ? mountpoint : served_at; }
};
/// The number of the FUSE connection of `device`, such as "53" of "0:53". Empty if `device` is empty.
[[nodiscard]] std::string connection_of(const std::string& device);
/// The number of `device`, such as "0:53", as makedev(3) makes it. 0 if `device` isn't of this form.
[[nodiscard]] std::uint64_t device_number(const std::string& device);

/// The user of a FUSE mount: `user_id` of its options. Nothing if there is none.
[[nodiscard]] std::optional<uid_t> user_of(const MountEntry& mount);
/// The group of that user at the time of the mount.
[[nodiscard]] std::optional<gid_t> group_of(const MountEntry& mount);

/// A field of mountinfo, where spaces, tabs, newlines and backslashes are written as `\` and three octal digits.
[[nodiscard]] std::string unescape_mountinfo(std::string_view text);
/// Parses the text of mountinfo, in the order of its lines: a later mount at the same path covers an earlier one.
/// Leaves out lines that are not of the expected form.
[[nodiscard]] std::vector<MountEntry> parse_mountinfo(std::string_view text);
/// The mounts that this process sees. Throws Error if /proc can't be read.
[[nodiscard]] std::vector<MountEntry> read_mount_table();
/// The topmost mount whose mount point is `path`, an absolute path without symbolic links. Throws Error if /proc can't
/// be read.
[[nodiscard]] std::optional<MountEntry> find_mount(const std::string& path);

/// Whose mount tables `for_each_mount_table` reads.
enum class TablesOf {
  kAll,
  kOwnUserNamespace,  // in a user namespace of its own, each user can make mounts that look like those of root
};
/// Calls `visit` with the text of mountinfo of each mount namespace of which this process may read a mount table
/// (/proc/PID/mountinfo): that of root sees all that have a process, that of another user those of this user's
/// processes. A table has only what lies below the root directory of its process, so a namespace may have several.
/// False if a table couldn't be read for another reason, as without free descriptors.
bool for_each_mount_table(const std::function<void(const std::string& mountinfo)>& visit,
                          TablesOf whose = TablesOf::kAll);

}  // namespace pkgfs
