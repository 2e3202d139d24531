// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/cli/options.h"
#include "daemon/mount/keeper.h"
#include "daemon/mount/mount_record.h"
#include "daemon/mount/mount_service.h"
#include "daemon/mount/mount_threads.h"
#include "daemon/mount/service_manager.h"
#include "daemon/observe/mount_facts.h"
#include "daemon/packages/followed_tree.h"
#include "daemon/packages/open_tree.h"
#include "fuse/session.h"
#include "fuse/statistics.h"

// How one daemon hands a mount over to the next one.
namespace pkgfs {

/// What keeps a mount when its daemon is killed.
enum class Keeping {
  kNothing,
  kKeeper,          // a process (keeper.h)
  kServiceManager,  // its store of descriptors, in the foreground
};
/// Decides that by --keeper. If the option asks for a keeper and that isn't possible, logs why.
[[nodiscard]] Keeping keeping_of(const MountOptions& options, const OpenedTree& opened, const FollowedTree* followed,
                                 const ServiceManager& manager);

/// What the next daemon must know of this mount, but for the tree and the handshake.
[[nodiscard]] MountRecord record_of(const MountOptions& options, const MountFacts& facts,
                                    const std::optional<Predecessor>& predecessor);

/// Starts the keeper of the mount. If that isn't possible, logs why; the mount goes on without.
void start_keeper(std::optional<Keeper>& keeper, Guards& guards, const fuse::Session& session, MountRecord record,
                  const OpenedTree& opened, const fuse::Statistics& statistics);

/// Lets the service manager keep what a keeper would hold. The next process of the unit goes on with the mount.
void store_mount(ServiceManager& manager, const fuse::Session& session, MountRecord record, const OpenedTree& opened,
                 const fuse::Statistics& statistics);
/// The mount ends: the service manager needs nothing of it any more.
void forget_mount(ServiceManager& manager, const OpenedTree& opened);

/// The names under which the service manager keeps descriptors; the number of a container follows the last one.
inline constexpr std::string_view kStoredDevice = "pkgfs-device";
inline constexpr std::string_view kStoredRecord = "pkgfs-record";
inline constexpr std::string_view kStoredState = "pkgfs-state";
inline constexpr std::string_view kStoredContainer = "pkgfs-container-";

}  // namespace pkgfs
