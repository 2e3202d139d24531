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

constexpr std::chrono::milliseconds kBindLimit{10000};
constexpr std::chrono::milliseconds kShortestBind{1000};

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

}  // namespace

/// The right to work on a target, until the end of the scope.
class NodeVolumes::Claim {
 public:
  enum class By { kCall, kThread };
  /// A call waits for the thread that looks after the targets, which takes a moment. It doesn't wait for another call:
  /// the kubelet calls again.
  Claim(NodeVolumes& volumes, std::string target, By by) : volumes_(volumes), target_(std::move(target)) {
    MutexLock lock(volumes_.mutex_);
    if (by == By::kCall) {
      const auto is_left = [this]() PKGFS_REQUIRES(volumes_.mutex_) { return volumes_.looked_after_ != target_; };
      (void)lock.wait_for(volumes_.changed_, kBindLimit + kProbeLimit, is_left);
    }
    if (!volumes_.claimed_.insert(target_).second) {
      throw Refusal(grpc::StatusCode::ABORTED, "another call works on the target path \"" + target_ + "\"");
    }
    if (by == By::kThread) {
      volumes_.looked_after_ = target_;
    }
  }
  ~Claim() {
    {
      const MutexLock lock(volumes_.mutex_);
      volumes_.claimed_.erase(target_);
      if (volumes_.looked_after_ == target_) {
        volumes_.looked_after_.clear();
      }
    }
    volumes_.changed_.notify_all();
  }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;

 private:
  NodeVolumes& volumes_;
  std::string target_;
};

NodeVolumes::NodeVolumes(VolumeTable& table, AttributePolicy policy, Times times)
    : table_(table), policy_(std::move(policy)), times_(times) {
  adopt();
  keeper_ = std::thread([this] {
    std::map<std::string, std::string> warned;
    MutexLock lock(mutex_);
    while (!lock.wait_for(changed_, times_.look_after, [this]() PKGFS_REQUIRES(mutex_) { return stopping_; })) {
      lock.unlock();
      try {
        look_after_targets(warned);
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
    if (const auto found = known_.find(publication->target); found != known_.end()) {
      // The driver ended after it had marked the publication, and before it had removed it without the mark.
      table_.unmount(found->second.volume, found->second.publication.to_id());
    }
    known_[publication->target] = {*publication, user.volume, user.options};
  }
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

void NodeVolumes::mount(const std::string& volume, const VolumeRequest& request, const std::string& id,
                        VolumeTable::Clock::time_point deadline) {
  constexpr int kTries = 3;  // the table may forget an unused volume between the two calls
  for (int tries = 1;; ++tries) {
    try {
      if (volume == request.name) {
        table_.create(volume, request.options, request.variables, request.lock_text, deadline);
      }
      (void)table_.mount(volume, id, deadline);
      return;
    } catch (const NoSuchVolume&) {
      if (tries == kTries) {
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
  const auto deadline = VolumeTable::Clock::now() + times_.publish_wait;
  const VolumeRequest request = parse_attributes(attributes, secrets, policy_);
  const std::string target = resolve_mountpoint(given);
  const Claim claim(*this, target, Claim::By::kCall);
  const std::optional<Known> same = find_same(volume_id, target, request);
  refuse_foreign_mount(target);
  // After a change of the secret, the pod keeps the mount that it has. Other pods may share it, so that it keeps its
  // token, too.
  const std::string volume = same ? same->volume : request.name;
  const Publication publication = same ? same->publication : Publication{volume_id, target, request.sub_path};
  mount(volume, request, publication.to_id(), deadline);
  try {
    make_target(target);
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - VolumeTable::Clock::now());
    const std::chrono::milliseconds limit = std::max(left, kShortestBind);
    const bool is_done = is_shown(volume, target);
    if (!is_done && same && find_mount(target)) {
      show_anew(*same, limit);  // as look_after() would do later
      return;
    }
    if (!is_done) {
      unbind_target(target);
      bind_target(table_.mountpoint(volume), request.sub_path, target, limit);
    }
  } catch (...) {
    if (!same) {
      undo(publication, volume);
    }
    throw;
  }
  const MutexLock lock(mutex_);
  known_[target] = {publication, volume, request.options};
}

void NodeVolumes::undo(const Publication& publication, const std::string& volume) noexcept {
  try {
    remove_target(publication.target);  // the mount may have come after its limit
  } catch (const std::exception& error) {
    log::debug("{}", error);
  }
  try {
    table_.unmount(volume, publication.to_id());
  } catch (const std::exception& error) {
    log::debug("{}", error);
  }
}

void NodeVolumes::unpublish(const std::string& volume_id, const std::string& given) {
  const std::string target = real_target(given);
  const Claim claim(*this, target, Claim::By::kCall);
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
    health.was_rebound = found->second.publication.was_rebound;
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

void NodeVolumes::look_after_targets(std::map<std::string, std::string>& warned) {
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
      try {
        look_after(known.publication.target);
      } catch (const std::exception& error) {  // it must not keep the thread from the other targets
        if (std::exchange(warned[known.publication.target], error.what()) != error.what()) {
          log::warn("volume \"{}\": {}", known.volume, error);
        }
      }
    } else {
      warned.erase(known.publication.target);
    }
  }
  std::erase_if(warned, [&](const auto& entry) {
    return std::ranges::none_of(all, [&](const Known& known) { return known.publication.target == entry.first; });
  });
}

void NodeVolumes::look_after(const std::string& target) {
  Known known;
  std::optional<Claim> claim;
  try {
    claim.emplace(*this, target, Claim::By::kThread);
  } catch (const Refusal&) {
    return;  // a call works on it
  }
  {
    const MutexLock lock(mutex_);
    const auto found = known_.find(target);
    if (found == known_.end()) {
      return;
    }
    known = found->second;
  }
  const std::string source = table_.mountpoint(known.volume);
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
  show_anew(known, kBindLimit);
}

void NodeVolumes::show_anew(const Known& known, std::chrono::milliseconds limit) {
  const std::string& target = known.publication.target;
  unbind_target(target);
  bind_target(table_.mountpoint(known.volume), known.publication.sub_path, target, limit);
  ++rebinds_;
  log::warn("\"{}\" shows the new mount of volume \"{}\"; a container that ran must be started again", target,
            known.volume);
  if (known.publication.was_rebound) {
    return;
  }
  // The table keeps the mark, so that it outlives the driver.
  Publication marked = known.publication;
  marked.was_rebound = true;
  (void)table_.mount(known.volume, marked.to_id());
  {
    const MutexLock lock(mutex_);
    known_[target].publication = marked;
  }
  table_.unmount(known.volume, known.publication.to_id());
}

}  // namespace pkgfs::csi
