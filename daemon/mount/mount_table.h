// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pkgfs {

/// The type under which the kernel lists our mounts.
inline constexpr std::string_view kMountType = "fuse.pkgfs";

/// One line of /proc/self/mountinfo (proc(5)).
struct MountEntry {
  std::string mountpoint;
  std::string type;
  std::string source;
  std::string options;  // of the mount, comma-separated
  std::string device;   // "0:53": the part behind the colon is the number of the FUSE connection
};

/// Parses the text of mountinfo; lines that aren't of its form are left out. Order as listed: a later mount at the same
/// path covers an earlier one.
[[nodiscard]] std::vector<MountEntry> parse_mountinfo(std::string_view text);
/// The mounts that this process sees. Throws Error if /proc can't be read.
[[nodiscard]] std::vector<MountEntry> read_mount_table();
/// What is mounted on top at exactly `path`.
[[nodiscard]] std::optional<MountEntry> find_mount(const std::string& path);

enum class MountState {
  kLive,
  kDead,   // the daemon is gone; every access answers ENOTCONN
  kStuck,  // no answer in time
};
[[nodiscard]] std::string_view to_string(MountState state);

/// For the child process that asks the mount at `path` something: the path to ask at. That is a copy of the mount,
/// which becomes the working directory, where that is allowed: who asks at the mount itself has it in use, and nobody
/// can unmount it until it has answered.
[[nodiscard]] const char* enter_copy(const char* path);

/// Asks the mount at `path`, by a question that costs the daemon nothing and that the kernel can't answer for it. It is
/// put by a child process, which is left behind where it hangs: this one never waits longer than `limit`.
[[nodiscard]] MountState probe_mount(const std::string& path, std::chrono::milliseconds limit);
/// The same for many at a time; `limit` is for all together.
[[nodiscard]] std::vector<MountState> probe_mounts(const std::vector<std::string>& paths,
                                                   std::chrono::milliseconds limit);

/// The path that mountinfo would show for `path`, as the kernel finds it (links before ".."), without touching what is
/// mounted there: it may be dead or stuck. The last component need not exist. Throws Error naming `path`: kUsage if it
/// is empty, kNotFound if what is above the last component isn't there.
[[nodiscard]] std::string resolve_mountpoint(const std::string& path);

/// Unmounts what is on top at `mountpoint`; `lazy` also while it is in use. Throws Error(kBusy, kPermission, kMount).
void unmount(const std::string& mountpoint, bool lazy);

}  // namespace pkgfs
