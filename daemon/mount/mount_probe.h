// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace pkgfs {

enum class MountState {
  kLive,
  kDead,   // the daemon has ended: every access fails with ENOTCONN
  kStuck,  // the daemon does not answer in time
  // Live, but files can't be read; only `ask_mounts` finds these.
  kChanged,   // another program has changed a container in place
  kTampered,  // a server sent a container with another hash than the registry announced
};
[[nodiscard]] std::string_view to_string(MountState state);

/// How long a command waits for the answers of all mounts.
inline constexpr std::chrono::seconds kProbeLimit{1};

/// Asks the mount at `path` whether it answers. The request is one that the kernel can't answer from its caches and
/// that costs the daemon nothing. A child process sends it (run_bounded.h), so this never waits longer than `limit`.
[[nodiscard]] MountState probe_mount(const std::string& path, std::chrono::milliseconds limit);
/// Asks many mounts at the same time; `limit` is for all of them together.
[[nodiscard]] std::vector<MountState> probe_mounts(const std::vector<std::string>& paths,
                                                   std::chrono::milliseconds limit);

/// Call it in a child process, before a request to the mount at `path`. Returns the path for that request. Where the
/// kernel allows it, a private copy of the mount becomes the working directory, and the path is ".". A request through
/// the mount itself would keep that mount busy: it couldn't be unmounted until the daemon had answered.
[[nodiscard]] const char* enter_copy(const char* path);

}  // namespace pkgfs
