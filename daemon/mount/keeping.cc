// SPDX-License-Identifier: MIT
#include "daemon/mount/keeping.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cstddef>
#include <cstdlib>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/keeper/protocol.h"
#include "daemon/mount/guarding.h"
#include "daemon/packages/kept_tree.h"

namespace pkgfs {

namespace {

/// `why`: what the mount has that another daemon couldn't go on with; null: nothing.
Keeping keeping_unless(const char* why, const MountOptions& options, const ServiceManager& manager) {
  const bool is_service = options.foreground && manager.is_there();
  if (!options.keeper.value_or(is_service || !options.foreground)) {
    return Keeping::kNothing;
  }
  if (options.auto_unmount) {
    why = "with --auto-unmount, the mount ends with its daemon";
  } else if (options.io_uring) {
    why = "requests through io_uring can't be sent again";
  }
  if (why != nullptr) {
    log::write(options.keeper ? log::Level::kWarn : log::Level::kDebug, fmt::format("there is no keeper: {}", why));
  }
  return why != nullptr        ? Keeping::kNothing
         : options.has_keeperd ? Keeping::kBackedKeeper
         : is_service          ? Keeping::kServiceManager
                               : Keeping::kKeeper;
}

}  // namespace

Keeping keeping_of(const MountOptions& options, const OpenedTree& opened, const FollowedTree* followed,
                   const ServiceManager& manager) {
  const char* const why = followed != nullptr
                              ? "another daemon couldn't go on with what --follow-manifest has taken over"
                          : !can_keep(opened) ? "another daemon couldn't open the packages"
                                              : nullptr;
  return keeping_unless(why, options, manager);
}

Keeping keeping_of(const MountOptions& options, const ServiceManager& manager) {
  return keeping_unless(nullptr, options, manager);
}

MountRecord record_of(const MountOptions& options, const MountFacts& facts, const Predecessor* predecessor) {
  MountRecord record;
  record.arguments = options.arguments;
  record.mountpoint = facts.mountpoint;
  record.source = facts.package;
  record.version = PKGFS_VERSION;
  record.since = facts.since;
  record.generation = facts.generation;
  if (predecessor) {
    record.crashes = predecessor->record.crashes;
  }
  return record;
}

namespace {

/// The index of the journal's descriptor in the record.
constexpr const char* kJournal = "journal";
/// Those of the locks of a writable mount.
constexpr const char* kLocks = "locks";

static_assert(keeper::kSuccessions == fuse::SharedState::kSuccessions);
static_assert(keeper::kHanded == fuse::SharedState::kHanded);
static_assert(keeper::kReplacedBy == fuse::SharedState::kReplacedBy);

/// What a keeper holds of the mount. `record` gets the tree.
Keeper::Contents contents_of(MountRecord& record, const KeptParts& parts) {
  record.tree = parts.versions != nullptr ? parts.versions->keep()
                                          : KeptTree{.resolution = {{MountRecord::kServed, true}}, .descriptors = {}};
  if (parts.journal >= 0) {
    record.tree.resolution[kJournal] = record.tree.descriptors.size();
    record.tree.descriptors.push_back(parts.journal);
  }
  if (parts.writable != nullptr) {
    webc::Json& indices = record.tree.resolution[kLocks] = webc::Json::array();
    for (const int lock : parts.writable->locks()) {
      indices.push_back(record.tree.descriptors.size());
      record.tree.descriptors.push_back(lock);
    }
  }
  record.handshake = parts.session->handshake();
  const auto duplicate = [](int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); };
  return {.record = record.write(),
          .state = duplicate(parts.state->fd()),
          .requests = parts.requests == nullptr ? UniqueFd() : duplicate(parts.requests->fd()),
          .containers = record.tree.descriptors};
}

}  // namespace

UniqueFd journal_of(const MountRecord& record) {
  const auto index = record.tree.resolution.find(kJournal);
  const std::vector<int>& descriptors = record.tree.descriptors;
  if (index == record.tree.resolution.end() || !index->is_number_unsigned() ||
      index->get<std::size_t>() >= descriptors.size()) {
    throw Error(ErrorCode::kCorrupt, "The daemon before has left no journal");
  }
  return UniqueFd(descriptors[index->get<std::size_t>()]);
}

std::vector<UniqueFd> locks_of(const MountRecord& record) {
  std::vector<UniqueFd> locks;
  const auto indices = record.tree.resolution.find(kLocks);
  if (indices != record.tree.resolution.end() && indices->is_array()) {
    for (const auto& index : *indices) {
      if (index.is_number_unsigned() && index.get<std::size_t>() < record.tree.descriptors.size()) {
        locks.emplace_back(record.tree.descriptors[index.get<std::size_t>()]);
      }
    }
  }
  return locks;
}

bool must_keep_requests(const fuse::Handshake& handshake) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): no thread changes the environment
  return !handshake.kernel_resends() || std::getenv("PKGFS_TEST_NO_RESEND") != nullptr;
}

void make_keeper(std::optional<Keeper>& keeper, const Guards& guards, MountRecord record, const KeptParts& parts,
                 const std::string& keeperd, std::future<KeeperProcess> early) {
  if (guards.device().empty()) {
    log::debug("there is no keeper: another mount covers \"{}\"", record.mountpoint);
    return;
  }
  record.device = guards.device();
  keeper.emplace(
      parts.session->device_fd(), parts.state->fd(), guards.connection(), record.mountpoint,
      [record, parts]() mutable { return contents_of(record, parts); }, keeperd, std::move(early));
}

std::string store_mount(ServiceManager& manager, MountRecord record, const KeptParts& parts) {
  constexpr std::size_t kMost = 500;  // FileDescriptorStoreMax= of pkgfs@.service is a little higher
  try {
    const Keeper::Contents contents = contents_of(record, parts);
    if (contents.containers.size() > kMost) {
      throw Error(ErrorCode::kUnsupported, "it has more packages than a service manager keeps descriptors");
    }
    manager.forget_stored();
    manager.store(std::string(kStoredRecord), contents.record.get());
    manager.store(std::string(kStoredState), contents.state.get());
    if (contents.requests) {
      manager.store(std::string(kStoredRequests), contents.requests.get());
    }
    for (std::size_t i = 0; i < contents.containers.size(); ++i) {
      manager.store(std::string(kStoredContainer) + std::to_string(i), contents.containers[i]);
    }
    manager.store(std::string(kStoredDevice), parts.session->device_fd());  // without the others it is of no use
    return {};
  } catch (const Error& error) {
    return error.message();
  }
}

}  // namespace pkgfs
