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
#include "fuse/request_store.h"
#include "fuse/session.h"
#include "fuse/shared_state.h"

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

/// Whether requests must be kept until they are answered, because the kernel doesn't send them again (Linux
/// before 6.9). The environment variable PKGFS_TEST_NO_RESEND makes a test of that possible on other kernels.
[[nodiscard]] bool must_keep_requests(const fuse::Handshake& handshake);

/// What the next daemon must know of this mount, but for the tree and the handshake.
[[nodiscard]] MountRecord record_of(const MountOptions& options, const MountFacts& facts,
                                    const std::optional<Predecessor>& predecessor);

/// What is kept of a mount beside its packages. The pointers must outlive the keeper; `requests` may be null.
struct KeptParts {
  const fuse::Session* session;
  const OpenedTree* opened;
  const fuse::SharedState* state;
  const fuse::RequestStore* requests;
};

/// Makes the keeper of the mount, which isn't started yet. None if another mount covers this one.
void make_keeper(std::optional<Keeper>& keeper, const Guards& guards, MountRecord record, const KeptParts& parts);
/// Starts it. If that isn't possible, logs why; the mount goes on without.
void start_keeper(Keeper& keeper, Guards& guards, const std::string& mountpoint);
/// Lets the service manager keep what a keeper would hold. The next process of the unit goes on with the mount.
void store_mount(ServiceManager& manager, MountRecord record, const KeptParts& parts);
/// The names under which the service manager keeps descriptors; the number of a container follows the last one.
inline constexpr std::string_view kStoredDevice = "pkgfs-device";
inline constexpr std::string_view kStoredRecord = "pkgfs-record";
inline constexpr std::string_view kStoredState = "pkgfs-state";
inline constexpr std::string_view kStoredRequests = "pkgfs-requests";
inline constexpr std::string_view kStoredContainer = "pkgfs-container-";

}  // namespace pkgfs
