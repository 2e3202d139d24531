// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/mount/keeping.h"
#include "daemon/mount/mount_service.h"
#include "fuse/request_store.h"
#include "fuse/session.h"
#include "fuse/shared_state.h"
#include "fuse/statistics.h"

// How a daemon goes on with the mount of the daemon before (its predecessor).
namespace pkgfs {

/// The state of the mount. It is the state that the daemon before has left, unless that can't be used, or that daemon
/// still runs. Then it is a new one. If a new state can't be shared with a later daemon, sets `keeping` to kNothing and
/// logs why.
[[nodiscard]] fuse::SharedState state_of(std::optional<Predecessor>& predecessor, Keeping& keeping);
/// The requests that the daemon before has left unanswered. Throws Error if some of them can't be answered, or if that
/// daemon runs.
[[nodiscard]] std::unique_ptr<fuse::RequestStore> requests_of(Predecessor& predecessor);
/// The requests that mustn't be answered, because two daemons crashed when they answered them. Logs each that is new.
[[nodiscard]] std::vector<fuse::NodeRequest> poisoned_requests(fuse::SharedState& state,
                                                               const std::optional<Predecessor>& predecessor,
                                                               vfs::FileSystem& tree);

/// Lets `session` go on with the mount of `predecessor`. With `resends`, asks the kernel to send again the requests
/// that the daemon before left unanswered. If that daemon runs, waits until it was stopped (SIGSTOP), and lets
/// `statistics` go on from its counts. Throws Error.
void take_over(fuse::Session& session, Predecessor& predecessor, fuse::Statistics& statistics, bool resends);
/// Call it once `session` serves. Counts the pause, if it is known when the daemon before ended or was stopped. If that
/// daemon runs, waits until `pkgfs upgrade-mounts` has checked the mount, and then kills the daemon before.
void begin_serving(Predecessor& predecessor, fuse::Statistics& statistics);
/// Tells the keeper of `predecessor`, or `pkgfs upgrade-mounts`, that this daemon no longer needs it.
void tell_keeper(Predecessor& predecessor);

/// Whether a keeper has started this process (keeper::kVariable).
[[nodiscard]] bool is_successor(const Environment& environment);
/// Goes on with the mount that was handed over to this process, until it ends. Returns the exit code. Logs errors to
/// the system's log.
[[nodiscard]] int run_successor(const Io& io);

/// The mount of an earlier process of the same unit, if the service manager has kept its descriptors (keeping.h). If it
/// can't be used, or isn't the mount that `options` ask for, ends that mount and returns nothing.
[[nodiscard]] std::optional<Predecessor> stored_mount(const MountOptions& options, ServiceManager& manager);
/// Goes on with that mount until it ends. Returns and throws as serve_mount does.
[[nodiscard]] int serve_stored_mount(Predecessor predecessor, const MountOptions& options, const Io& io,
                                     ServiceManager& manager);

}  // namespace pkgfs
