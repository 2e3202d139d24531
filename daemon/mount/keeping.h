// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>

#include "daemon/cli/options.h"
#include "daemon/mount/keeper.h"
#include "daemon/mount/mount_record.h"
#include "daemon/mount/mount_service.h"
#include "daemon/mount/mount_threads.h"
#include "daemon/observe/mount_facts.h"
#include "daemon/packages/followed_tree.h"
#include "daemon/packages/open_tree.h"
#include "fuse/session.h"
#include "fuse/statistics.h"

// How one daemon hands a mount over to the next one.
namespace pkgfs {

/// Whether the mount gets a keeper (--keeper). If the options ask for one and it isn't possible, logs why.
[[nodiscard]] bool wants_keeper(const MountOptions& options, const OpenedTree& opened, const FollowedTree* followed);

/// What the next daemon must know of this mount, but for the tree and the handshake.
[[nodiscard]] MountRecord record_of(const MountOptions& options, const MountFacts& facts,
                                    const std::optional<Predecessor>& predecessor);

/// Starts the keeper of the mount. If that isn't possible, logs why; the mount goes on without.
void start_keeper(std::optional<Keeper>& keeper, Guards& guards, const fuse::Session& session, MountRecord record,
                  const OpenedTree& opened, const fuse::Statistics& statistics);

/// Lets `session` go on with the mount of `predecessor`, and asks the kernel for the requests that it left unanswered.
/// Throws Error.
void take_over(fuse::Session& session, Predecessor& predecessor, const std::string& mountpoint);
/// Call it once `session` serves. If the daemon before runs, waits until the process that replaces it has checked the
/// mount, and kills it.
void begin_serving(Predecessor& predecessor);
/// Tells the keeper of `predecessor` that it is no longer needed.
void told_keeper(Predecessor& predecessor);

/// Whether a keeper has started this process (keeper::kVariable).
[[nodiscard]] bool is_successor(const Environment& environment);
/// Goes on with the mount that the keeper has handed over, until it ends. Returns the exit code. Logs errors to the
/// system's log.
[[nodiscard]] int run_successor(const Io& io);

}  // namespace pkgfs
