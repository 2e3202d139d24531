// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/cli/options.h"
#include "daemon/mount/keeper.h"
#include "daemon/mount/mount_record.h"
#include "daemon/mount/mount_threads.h"
#include "daemon/mount/predecessor.h"
#include "daemon/mount/service_manager.h"
#include "daemon/mount/versions.h"
#include "daemon/mount/writable_mount.h"
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
  kBackedKeeper,    // such a process, and pkgfs-keeperd (keeperd.h) if both are killed
  kServiceManager,  // it stores the descriptors of a mount in the foreground
};
[[nodiscard]] inline bool has_keeper(Keeping keeping) {
  return keeping == Keeping::kKeeper || keeping == Keeping::kBackedKeeper;
}
/// Decides what keeps the mount. If --keeper asks for that and it isn't possible, logs why.
[[nodiscard]] Keeping keeping_of(const MountOptions& options, const OpenedTree& opened, const FollowedTree* followed,
                                 const ServiceManager& manager);
/// The same for a served directory.
[[nodiscard]] Keeping keeping_of(const MountOptions& options, const ServiceManager& manager);

/// Whether requests must be kept until they are answered, because the kernel can't send them again (Linux before 6.9).
/// With PKGFS_TEST_NO_RESEND in the environment, returns true on every kernel, for tests.
[[nodiscard]] bool must_keep_requests(const fuse::Handshake& handshake);

/// What the next daemon must know of this mount, but for the tree, the handshake and the device. `predecessor`: the
/// daemon before; may be null.
[[nodiscard]] MountRecord record_of(const MountOptions& options, const MountFacts& facts,
                                    const Predecessor* predecessor);

/// The parts of a mount that a keeper holds, beside the record. The pointers must outlive the keeper; `requests` may be
/// null.
struct KeptParts {
  const fuse::Session* session;
  const Versions* versions;  // null: it is a served directory
  const fuse::SharedState* state;
  const fuse::RequestStore* requests;
  int journal = -1;                         // of live directories, or of a served directory; -1: nothing is live
  const WritableMount* writable = nullptr;  // null: the mount isn't writable
};
/// The locks of a writable mount that the daemon before has handed over; empty if it had none.
[[nodiscard]] std::vector<UniqueFd> locks_of(const MountRecord& record);
/// The journal that the daemon before has handed over. Throws Error if there is none.
[[nodiscard]] UniqueFd journal_of(const MountRecord& record);

/// Makes the object for the keeper of the mount, but doesn't start it. If another mount covers this one, makes none.
/// `keeperd`: the path of the socket of pkgfs-keeperd; empty: it isn't to hold the mount. `early`: of
/// KeeperProcess::start_early, or empty.
void make_keeper(std::optional<Keeper>& keeper, const Guards& guards, MountRecord record, const KeptParts& parts,
                 const std::string& keeperd, std::future<KeeperProcess> early);
/// Lets the service manager keep what a keeper would hold. The next process of the unit goes on with the mount. Returns
/// an empty text, or the reason why it keeps what it has kept before, or nothing.
[[nodiscard]] std::string store_mount(ServiceManager& manager, MountRecord record, const KeptParts& parts);
/// The names under which the service manager keeps descriptors. The last one is followed by the number of a container.
inline constexpr std::string_view kStoredDevice = "pkgfs-device";
inline constexpr std::string_view kStoredRecord = "pkgfs-record";
inline constexpr std::string_view kStoredState = "pkgfs-state";
inline constexpr std::string_view kStoredRequests = "pkgfs-requests";
inline constexpr std::string_view kStoredContainer = "pkgfs-container-";

}  // namespace pkgfs
