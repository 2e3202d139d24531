// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/unique_fd.h"
#include "daemon/mount/kept_versions.h"
#include "daemon/mount/mount_record.h"

namespace pkgfs {

/// The daemon before, which was killed, has crashed or is to be replaced, and what its keeper or the service manager
/// has handed over.
struct Predecessor {
  MountRecord record;
  UniqueFd device;
  UniqueFd state;          // of fuse::SharedState
  UniqueFd requests;       // of fuse::RequestStore; of /dev/null if the kernel can send requests again
  UniqueFd process;        // its pidfd
  UniqueFd keeper;         // a pidfd; only if it runs and was stopped
  UniqueFd control;        // to its keeper, or to `pkgfs upgrade-mounts`; may be invalid
  std::int64_t ended = 0;  // CLOCK_MONOTONIC, in nanoseconds
  int signal = 0;          // with which it crashed; 0: it didn't
  std::optional<RestoredVersions> versions = {};  // if the mount was refreshed, or may be
  std::optional<std::string> identity = {};       // of its version (`kept_identity`), if not
  std::optional<std::uint32_t> successions = {};  // of it when it was stopped; only if it runs
  bool runs = false;  // it hasn't ended: it will be stopped (SIGSTOP), and killed once this daemon serves
};

}  // namespace pkgfs
