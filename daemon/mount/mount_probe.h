// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace pkgfs {

enum class MountState {
  kLive,
  kDead,     // the daemon has ended: every access fails with ENOTCONN
  kStuck,    // the daemon does not answer in time
  kChanged,  // live, but another program has changed a container in place; only `ask_mounts` finds that
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

/// For a child process that asks the mount at `path` something: the path to ask at. Where the kernel allows it, that is
/// ".", in a private copy of the mount that becomes the working directory. A request at the mount itself would keep the
/// mount busy, so that it can't be unmounted until the request is answered.
[[nodiscard]] const char* enter_copy(const char* path);

}  // namespace pkgfs
