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

/// The state of the mount that the daemon before has left, or a new one if it can't be used, or if that daemon runs. If
/// there can't be one that another daemon could go on from, sets `keeping` to kNothing and logs why.
[[nodiscard]] fuse::SharedState state_of(std::optional<Predecessor>& predecessor, Keeping& keeping);
/// The requests that the daemon before has left unanswered. Throws Error, also if that daemon runs.
[[nodiscard]] std::unique_ptr<fuse::RequestStore> requests_of(Predecessor& predecessor);
/// The requests that mustn't be answered, because two daemons crashed when they answered them. Logs each that is new.
[[nodiscard]] std::vector<fuse::NodeRequest> poisoned_requests(fuse::SharedState& state,
                                                               const std::optional<Predecessor>& predecessor,
                                                               vfs::FileSystem& tree);

/// Lets `session` go on with the mount of `predecessor`. With `resends`, asks the kernel for the requests that it left
/// unanswered. If the daemon before runs, waits until it has stopped, and lets `statistics` go on from its counts.
/// Throws Error.
void take_over(fuse::Session& session, Predecessor& predecessor, fuse::Statistics& statistics, bool resends);
/// Call it once `session` serves. If the daemon before runs, waits until the process that replaces it has checked the
/// mount, and kills it. Otherwise, counts the pause.
void begin_serving(Predecessor& predecessor, fuse::Statistics& statistics);
/// Tells the keeper of `predecessor` that it is no longer needed.
void tell_keeper(Predecessor& predecessor);

/// Whether a keeper, or `pkgfs upgrade-mounts`, has started this process (keeper::kVariable).
[[nodiscard]] bool is_successor(const Environment& environment);
/// Goes on with the mount that was handed over to this process, until it ends. Returns the exit code. Logs errors to
/// the system's log.
[[nodiscard]] int run_successor(const Io& io);

/// The mount of an earlier process of the same unit, if the service manager has kept its descriptors (keeping.h). If it
/// isn't the mount that `options` ask for, ends it, and returns nothing.
[[nodiscard]] std::optional<Predecessor> stored_mount(const MountOptions& options, ServiceManager& manager);
/// Goes on with that mount, as serve_mount does.
[[nodiscard]] int serve_stored_mount(Predecessor predecessor, const MountOptions& options, const Io& io,
                                     ServiceManager& manager);

}  // namespace pkgfs
