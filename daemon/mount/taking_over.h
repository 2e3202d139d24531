// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "daemon/mount/keeping.h"
#include "daemon/mount/predecessor.h"
#include "fuse/live_ids.h"
#include "fuse/request_store.h"
#include "fuse/session.h"
#include "fuse/shared_state.h"
#include "fuse/statistics.h"

// How a daemon takes a mount over from the daemon before, while it prepares to serve (mount_service.h).
namespace pkgfs {

/// The state of the mount. It is the state that the daemon before has left, unless that can't be used, or that daemon
/// still runs. Then it is a new one. If a new state can't be shared with a later daemon, sets `keeping` to kNothing and
/// logs why. Call it before any thread is started: it may change the environment (keeper::kBackedVariable).
[[nodiscard]] fuse::SharedState state_of(std::optional<Predecessor>& predecessor, Keeping& keeping);
/// The requests that the daemon before has left unanswered. Throws Error if some of them can't be answered.
[[nodiscard]] std::unique_ptr<fuse::RequestStore> requests_of(Predecessor& predecessor);
/// The requests that mustn't be answered, because two daemons crashed when they answered them. Logs each that is new.
/// `ids` may be null: then node ids are inodes of the tree.
[[nodiscard]] std::vector<fuse::NodeRequest> poisoned_requests(fuse::SharedState& state,
                                                               const std::optional<Predecessor>& predecessor,
                                                               vfs::FileSystem& tree, fuse::LiveIds* ids);

/// Lets `session` go on with the mount of `predecessor`. With `resends`, asks the kernel to send again the requests
/// that the daemon before left unanswered. If that daemon runs, waits until it was stopped (SIGSTOP), and lets
/// `statistics` go on from its counts. Throws Error.
void take_over(fuse::Session& session, Predecessor& predecessor, fuse::Statistics& statistics, bool resends);
/// Tells `keeper` of the daemon before, which runs. Call it before the keeper starts.
void replace_with(Keeper& keeper, const Predecessor& predecessor);
/// Call it before `session` serves: its threads must not have the priority that the keeper has asked for
/// (keeper::kNiceVariable), so that the pause is short.
void end_haste();
/// Call it once `session` serves. Counts the pause, if it is known when the daemon before ended or was stopped. If that
/// daemon runs, waits until `pkgfs upgrade-mounts` has checked the mount.
void begin_serving(Predecessor& predecessor, fuse::Statistics& statistics);
/// Call it next, when this daemon has a keeper if it can have one. If the daemon before runs, notes that this one has
/// replaced it, kills its keeper and it, and waits until the keeper has ended. If this daemon ends before that note,
/// the one before goes on; later, the keeper of this daemon starts another one. If the note can't be written, or a
/// keeper of the daemon before has started another successor meanwhile, ends this process (`give_up`).
void end_predecessor(Predecessor& predecessor);
/// Logs why this daemon can't replace the one before, which goes on, and ends this process.
[[noreturn]] void give_up(const std::string& why);
/// Tells the keeper of `predecessor`, or `pkgfs upgrade-mounts`, that this daemon no longer needs it.
void tell_keeper(Predecessor& predecessor, fuse::SharedState& state);

}  // namespace pkgfs
