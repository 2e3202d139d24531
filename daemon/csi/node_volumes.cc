// SPDX-License-Identifier: MIT
#include "daemon/csi/node_volumes.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "daemon/csi/refusal.h"
#include "daemon/mount/mountpoint.h"

namespace pkgfs::csi {
namespace {

/// The path of a target without symbolic links. Without the directory above it, the path as it was given.
std::string real_target(const std::string& given) {
  try {
    return resolve_mountpoint(given);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) {
      throw;
    }
    return std::filesystem::path(given).lexically_normal();
  }
}

/// Removes the lock files of earlier volumes.
void clear_locks(const std::string& directory, const std::vector<VolumeTable::User>& users) {
  make_private_directory(directory);
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(directory, failed)) {
    const bool is_used = std::ranges::any_of(users, [&](const VolumeTable::User& user) {
      const auto lock = user.options.find("lock");
      return lock != user.options.end() && lock->second == entry.path();
    });
    if (!is_used) {
      std::filesystem::remove(entry.path(), failed);
    }
  }
}

}  // namespace

/// The right to work on a target, until the end of the scope.
class NodeVolumes::Claim {
 public:
  Claim(NodeVolumes& volumes, std::string target) : volumes_(volumes), target_(std::move(target)) {
    const MutexLock lock(volumes_.mutex_);
    if (!volumes_.claimed_.insert(target_).second) {
      throw Refusal(grpc::StatusCode::ABORTED, "another call works on the target path \"" + target_ + "\"");
    }
  }
  ~Claim() {
    const MutexLock lock(volumes_.mutex_);
    volumes_.claimed_.erase(target_);
  }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;

 private:
  NodeVolumes& volumes_;
  std::string target_;
};

NodeVolumes::NodeVolumes(VolumeTable& table, AttributePolicy policy, std::chrono::milliseconds look_after)
    : table_(table), policy_(std::move(policy)), look_after_(look_after) {
  adopt();
  keeper_ = std::thread([this] {
    MutexLock lock(mutex_);
    while (!lock.wait_for(changed_, look_after_, [this]() PKGFS_REQUIRES(mutex_) { return stopping_; })) {
      lock.unlock();
      try {
        look_after_targets();
      } catch (const std::exception& error) {
        log::warn("{}", error);
      }
      lock.lock();
    }
  });
}

NodeVolumes::~NodeVolumes() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  keeper_.join();
}

void NodeVolumes::adopt() {
  const std::vector<VolumeTable::User> users = table_.users();
  const MutexLock lock(mutex_);
  for (const VolumeTable::User& user : users) {
    const std::optional<Publication> publication = Publication::from_id(user.id);
    const std::optional<MountEntry> mounted =
        publication ? find_mount(publication->target) : std::optional<MountEntry>();
    if (!mounted || mounted->type != kMountType) {
      log::info("the volume at \"{}\" has gone", publication ? publication->target : user.id);
      table_.unmount(user.volume, user.id);
      continue;
    }
    known_[publication->target] = {*publication, user.volume, user.options};
  }
  clear_locks(policy_.lock_directory, users);
}

std::optional<NodeVolumes::Known> NodeVolumes::find_same(const std::string& volume_id, const std::string& target,
                                                         const VolumeRequest& request) {
  const MutexLock lock(mutex_);
  const auto found = known_.find(target);
  if (found == known_.end()) {
    return std::nullopt;
  }
  const Known& known = found->second;
  if (known.publication.volume_id != volume_id || known.publication.sub_path != request.sub_path ||
      known.options != request.options) {
    throw Refusal(grpc::StatusCode::ALREADY_EXISTS, "the target path \"" + target + "\" shows volume \"" +
                                                        known.publication.volume_id +
                                                        "\" already, or the same volume with other attributes");
  }
  return known;
}

void NodeVolumes::write_lock(const VolumeRequest& request) const {
  if (!request.lock_text.empty()) {
    make_private_directory(policy_.lock_directory);
    write_file_atomically(request.options.at("lock"), request.lock_text, Durability::kSynced);
  }
}

void NodeVolumes::mount(const std::string& volume, const VolumeRequest& request, const std::string& id) {
  constexpr int kTries = 3;  // the table may forget an unused volume between the two calls
  for (int tries = 1;; ++tries) {
    try {
      table_.create(volume, request.options, request.variables);
      (void)table_.mount(volume, id);
      return;
    } catch (const Error& error) {
      if (error.message() != "no such volume: " + volume || tries == kTries) {
        throw;
      }
    }
  }
}

bool NodeVolumes::is_shown(const std::string& volume, const std::string& target) const {
  const std::optional<MountEntry> at_target = find_mount(target);
  const std::optional<MountEntry> source = find_mount(table_.mountpoint(volume));
  return at_target && source && at_target->type == kMountType && at_target->device == source->device;
}

void NodeVolumes::publish(const std::string& volume_id, const std::string& given, const StringMap& attributes,
                          const StringMap& secrets) {
  const VolumeRequest request = parse_attributes(attributes, secrets, policy_);
  const std::string target = resolve_mountpoint(given);
  const Claim claim(*this, target);
  const std::optional<Known> same = find_same(volume_id, target, request);
  if (const auto mounted = find_mount(target); mounted && mounted->type != kMountType) {
    throw Refusal(grpc::StatusCode::FAILED_PRECONDITION, "the target path \"" + target +
                                                             "\" has a mount of another program: " + mounted->type +
                                                             " (" + mounted->source + ")");
  }
  write_lock(request);
  // After a change of the secret, the pod keeps the mount that it has.
  const std::string volume = same ? same->volume : request.name;
  const Publication publication{volume_id, target, request.sub_path};
  mount(volume, request, publication.to_id());
  try {
    make_target(target);
    if (!is_shown(volume, target)) {
      unbind_target(target);
      bind_target(table_.mountpoint(volume), request.sub_path, target);
    }
  } catch (...) {
    if (!same) {
      table_.unmount(volume, publication.to_id());
    }
    throw;
  }
  const MutexLock lock(mutex_);
  known_[target] = {publication, volume, request.options};
}

void NodeVolumes::unpublish(const std::string& volume_id, const std::string& given) {
  const std::string target = real_target(given);
  const Claim claim(*this, target);
  remove_target(target);
  std::optional<Known> known;
  {
    const MutexLock lock(mutex_);
    if (const auto found = known_.find(target); found != known_.end()) {
      known = found->second;
      known_.erase(found);
    }
  }
  if (!known) {
    log::info("volume \"{}\" wasn't known at \"{}\"", volume_id, target);
    return;
  }
  try {
    table_.unmount(known->volume, known->publication.to_id());
  } catch (const Error& error) {
    log::info("{}", error);  // the table has no such volume: there is nothing to end
  }
}

NodeVolumes::Health NodeVolumes::health(const std::string& volume_id, const std::string& given) {
  const std::string target = real_target(given);
  Health health;
  {
    const MutexLock lock(mutex_);
    const auto found = known_.find(target);
    if (found == known_.end() || found->second.publication.volume_id != volume_id) {
      throw Refusal(grpc::StatusCode::NOT_FOUND, "volume \"" + volume_id + "\" isn't at \"" + given + "\"");
    }
    health.was_rebound = found->second.was_rebound;
  }
  const std::optional<MountEntry> mounted = find_mount(target);
  if (!mounted || mounted->type != kMountType) {
    health.state = MountState::kDead;
    return health;
  }
  health.state = probe_mount(target, kProbeLimit);
  if (health.state == MountState::kLive) {
    health.size = measure(target);
  }
  return health;
}

NodeVolumes::Counts NodeVolumes::counts() {
  const std::vector<VolumeDescription> volumes = table_.list();
  const auto is_mounted = [](const VolumeDescription& volume) { return !volume.mountpoint.empty(); };
  const MutexLock lock(mutex_);
  return {.mounts = static_cast<std::size_t>(std::ranges::count_if(volumes, is_mounted)),
          .publications = known_.size(),
          .rebinds = rebinds_};
}

void NodeVolumes::look_after_targets() {
  std::vector<Known> all;
  {
    const MutexLock lock(mutex_);
    for (const auto& [target, known] : known_) {
      all.push_back(known);
    }
  }
  std::map<std::string, std::string> devices;  // of the topmost mounts of pkgfs, by path
  for (const MountEntry& entry : read_mount_table()) {
    devices[entry.mountpoint] = entry.type == kMountType ? entry.device : std::string();
  }
  for (const Known& known : all) {
    const auto source = devices.find(table_.mountpoint(known.volume));
    const auto target = devices.find(known.publication.target);
    if (source == devices.end() || target == devices.end() || source->second != target->second) {
      look_after(known);
    }
  }
}

void NodeVolumes::look_after(const Known& known) {
  const std::string& target = known.publication.target;
  const std::string source = table_.mountpoint(known.volume);
  std::optional<Claim> claim;
  try {
    claim.emplace(*this, target);
  } catch (const Refusal&) {
    return;  // a call works on it
  }
  {
    const MutexLock lock(mutex_);
    if (!known_.contains(target)) {
      return;
    }
  }
  const std::optional<MountEntry> mounted = find_mount(source);
  if (is_shown(known.volume, target) || !mounted || mounted->type != kMountType ||
      probe_mount(source, kProbeLimit) != MountState::kLive) {
    return;  // the table makes a new mount first
  }
  std::error_code failed;
  if (!find_mount(target) && !std::filesystem::is_directory(target, failed)) {
    log::warn("the target path \"{}\" has been removed; its volume is no longer used there", target);
    table_.unmount(known.volume, known.publication.to_id());
    const MutexLock lock(mutex_);
    known_.erase(target);
    return;
  }
  unbind_target(target);
  bind_target(source, known.publication.sub_path, target);
  ++rebinds_;
  log::warn("\"{}\" shows the new mount of volume \"{}\"; a container that ran must be started again", target,
            known.volume);
  const MutexLock lock(mutex_);
  known_[target].was_rebound = true;
}

}  // namespace pkgfs::csi
