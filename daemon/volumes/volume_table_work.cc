// SPDX-License-Identifier: MIT
// The parts of VolumeTable (volume_table.h) that run on its own threads: start-up, the work for a volume, and the
// thread that ends idle mounts and makes dead ones anew.
#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "core/base/log.h"
#include "daemon/volumes/volume_table.h"

namespace pkgfs {
namespace {

constexpr std::chrono::milliseconds kLongestPause = std::chrono::minutes(5);

/// Marks a volume as busy until the end of the scope.
class Busy {
 public:
  Busy(bool& flag, std::condition_variable& changed) : flag_(flag), changed_(changed) { flag_ = true; }
  ~Busy() {
    flag_ = false;
    changed_.notify_all();
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  bool& flag_;
  std::condition_variable& changed_;
};

/// Releases the lock until the end of the scope. The analysis can't follow a lock through a reference, and takes the
/// mutex for held meanwhile.
class Unlocked {
 public:
  explicit Unlocked(MutexLock& lock) PKGFS_NO_THREAD_SAFETY_ANALYSIS : lock_(lock) { lock_.unlock(); }
  ~Unlocked() PKGFS_NO_THREAD_SAFETY_ANALYSIS { lock_.lock(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  MutexLock& lock_;
};

}  // namespace

VolumeTable::VolumeTable(Settings settings, Mounter mounter)
    : settings_(std::move(settings)), mounter_(std::move(mounter)) {
  adopt();
  try {
    keeper_ = std::thread([this] { keep_mounts(); });
  } catch (...) {
    end_workers();
    throw;
  }
}

void VolumeTable::end_workers() {
  stop();
  for (const auto& [name, volume] : volumes_) {
    if (volume->worker.joinable()) {
      volume->worker.join();
    }
  }
}

VolumeTable::~VolumeTable() {
  stop();
  keeper_.join();
  end_workers();
  for (const auto& [name, volume] : volumes_) {
    if (volume->mounted && volume->record.ids.empty()) {
      try {
        mounter_.unmount(name, false);
      } catch (const std::exception& error) {
        log::info("volume \"{}\" stays mounted: {}", name, error);
      }
    }
  }
}

void VolumeTable::stop() {
  const Lock lock(mutex_);
  stopping_ = true;
  for (const VolumePtr& volume : all()) {
    if (volume->cancel) {
      volume->cancel->cancel();
    }
  }
  changed_.notify_all();
}

VolumeState VolumeTable::load() const {
  try {
    return load_volume_state(settings_.state_file);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCorrupt) {
      throw;
    }
    const std::string aside = set_aside(settings_.state_file);
    log::warn("{}\n  it was renamed to \"{}\", and there are no volumes", error, aside);
    return {};
  }
}

void VolumeTable::clear_locks() const {
  std::error_code failed;
  std::vector<std::filesystem::path> found;
  for (std::filesystem::directory_iterator entry(settings_.lock_directory, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    found.push_back(entry->path());
  }
  for (const std::filesystem::path& path : found) {
    if (std::ranges::none_of(all(), [&](const VolumePtr& one) { return own_lock(one->record.options) == path; })) {
      std::filesystem::remove(path, failed);
    }
  }
}

void VolumeTable::adopt() {
  const Lock lock(mutex_);
  VolumeState state = load();
  const bool is_same_boot = state.boot == boot_;
  const auto mounts = mounter_.find_mounts();
  std::set<std::string> names;
  for (VolumeRecord& record : state.volumes) {
    const auto volume = std::make_shared<Volume>();
    volume->record = std::move(record);
    const std::string& name = volume->record.name;
    names.insert(name);
    if (!is_same_boot) {
      volume->record.ids.clear();
    }
    volume->resolved = mounter_.resolved(name);
    const auto mounted = mounts.find(name);
    volume->mounted = mounted != mounts.end() && mounted->second.state != MountState::kDead;
    volume->had_user = true;
    volume->idle_until = idle_end(*volume);
    if (mounted != mounts.end() && !volume->mounted) {
      mounter_.unmount(name, true);
    }
    volumes_[name] = volume;
  }
  for (const auto& [name, mount] : mounts) {
    if (!names.contains(name)) {
      log::warn("\"{}\" at \"{}\" belongs to no volume and is unmounted", mount.package, mounter_.mountpoint(name));
      try {
        mounter_.unmount(name, true);  // the list of volumes may have been lost: its changes are set aside, not removed
      } catch (const std::exception& error) {
        log::warn("\"{}\": {}", mounter_.mountpoint(name), error);
      }
    }
  }
  mounter_.forget_all_but(names);
  if (!settings_.lock_directory.empty()) {
    clear_locks();
  }
  save();
  for (const auto& [name, volume] : volumes_) {
    const bool needs_mount = !volume->mounted && !volume->record.ids.empty();
    if (needs_mount || !(volume->record.prepared || is_idle(*volume))) {
      start_work(volume, needs_mount);
    }
  }
}

void VolumeTable::start_work(const VolumePtr& volume, bool mount) {
  if (volume->worker.joinable()) {
    volume->worker.join();  // it has ended
  }
  volume->busy = true;
  volume->wants_mount = mount;
  volume->cancel = std::make_unique<CancelFlag>();
  try {
    volume->worker = std::thread([this, volume] { work(volume); });
  } catch (const std::system_error&) {
    volume->busy = false;
    volume->problem = current_error();
    ++volume->tries;
    log::warn("volume \"{}\": {}", volume->record.name, one_line(*volume->problem));
  }
}

/// Runs on the volume's own thread; `busy` is set.
void VolumeTable::work(const VolumePtr& volume) {
  const CancelScope scope(*volume->cancel);  // a lock file may be long
  Lock lock(mutex_);
  const Busy busy(volume->busy, changed_);
  const std::string name = volume->record.name;
  const std::vector<std::string> variables = volume->variables;
  try {
    const VolumeOptions options = parse_volume_options(volume->record.options);
    if (!volume->record.prepared || !mounter_.is_prepared(name, options)) {
      volume->record.prepared = false;
      {
        const Unlocked unlocked(lock);
        mounter_.prepare(name, options, *volume->cancel, variables);
      }
      volume->record.prepared = true;
      volume->resolved = mounter_.resolved(name);
      log::info("volume \"{}\" is ready", name);
      save_or_warn();
    }
    if (volume->wants_mount) {
      {
        const Unlocked unlocked(lock);
        mounter_.mount(name, options, *volume->cancel, variables);
      }
      volume->mounted = true;
      log::info("volume \"{}\" is mounted at \"{}\"", name, mounter_.mountpoint(name));
    }
    volume->problem.reset();
  } catch (const Error& error) {
    volume->problem = error;
    if (error.code() != ErrorCode::kInterrupted) {
      log::warn("volume \"{}\": {}", name, one_line(error));
    }
  } catch (...) {
    volume->problem = current_error();
    log::warn("volume \"{}\": {}", name, one_line(*volume->problem));
  }
  ++volume->tries;
  const auto longer = std::clamp(2 * volume->pause, settings_.look_after, kLongestPause);
  volume->pause = volume->problem ? longer : std::chrono::milliseconds(0);
  volume->renew_at = Clock::now() + volume->pause;
  volume->idle_until = idle_end(*volume);
}

void VolumeTable::work_unlocked(Lock& lock, Volume& volume, const std::function<void()>& job) {
  const Busy busy(volume.busy, changed_);
  const Unlocked unlocked(lock);
  job();
}

bool VolumeTable::wait_until_free(Lock& lock, const Volume& volume, Clock::time_point deadline) {
  const bool is_free =
      lock.wait_until(changed_, deadline, [&]() PKGFS_REQUIRES(mutex_) { return !volume.busy || stopping_; });
  if (stopping_) {
    throw Error(ErrorCode::kInterrupted, "the driver of the volumes is being stopped");
  }
  return is_free;
}

VolumeTable::Clock::time_point VolumeTable::next_look() const {
  const auto now = Clock::now();
  auto next = now + std::chrono::hours(1);
  for (const VolumePtr& volume : all()) {
    if (!volume->busy && is_idle(*volume)) {
      next = std::min(next, volume->idle_until);
    } else if ((volume->mounted && !volume->busy) || lacks_mount(*volume)) {
      next = std::min(next, now + settings_.look_after);
    }
  }
  return next;
}

void VolumeTable::keep_mounts() {
  Lock lock(mutex_);
  auto last_look = Clock::now();
  while (!stopping_) {
    lock.wait_until(changed_, std::max(next_look(), Clock::now() + std::chrono::milliseconds(10)));
    if (stopping_) {
      return;
    }
    try {
      end_idle_mounts(lock);
      if (Clock::now() - last_look >= settings_.look_after) {
        renew_dead_mounts(lock);
        last_look = Clock::now();
      }
    } catch (const std::exception& error) {
      log::warn("{}", error);
    }
  }
}

bool VolumeTable::is_idle(const Volume& volume) const {
  return volume.record.ids.empty() && (volume.mounted || settings_.forgets);
}

void VolumeTable::end_idle_mounts(Lock& lock) {
  for (const VolumePtr& volume : all()) {
    const bool is_due = is_idle(*volume) && !volume->busy && !volume->removed && volume->idle_until <= Clock::now();
    if (!is_due || stopping_) {
      continue;
    }
    const std::string& name = volume->record.name;
    volume->idle_until = idle_end(*volume);  // for the next attempt, if a process that no engine knows of is using it
    const std::size_t tries = volume->tries;
    bool still_mounted = volume->mounted;
    const bool was_mounted = still_mounted;
    work_unlocked(lock, *volume, [&] {
      if (!was_mounted) {
        return;
      }
      try {
        mounter_.unmount(name, false);
        log::info("volume \"{}\" is unmounted: it has no users", name);
      } catch (const Error& error) {
        log::info("volume \"{}\": {}", name, error);
      }
      still_mounted = mounter_.is_mounted(name);
    });
    volume->mounted = still_mounted;
    // A user may have come while the lock was free.
    if (settings_.forgets && !still_mounted && !volume->busy && !volume->removed && volume->record.ids.empty() &&
        volume->tries == tries && !stopping_) {
      drop(lock, volume);
    }
  }
}

void VolumeTable::renew_dead_mounts(Lock& lock) {
  std::map<std::string, Mounter::Found> found;
  {
    const Unlocked unlocked(lock);
    found = mounter_.find_mounts();
  }
  for (const VolumePtr& volume : all()) {
    const std::string& name = volume->record.name;
    const auto mount = found.find(name);
    const bool is_dead = mount == found.end() || mount->second.state == MountState::kDead;
    if (lacks_mount(*volume) && volume->renew_at <= Clock::now() && !stopping_) {
      start_work(volume, true);
      continue;
    }
    if (!is_dead || !volume->mounted || volume->busy || volume->record.ids.empty() || stopping_) {
      continue;
    }
    check_mount(lock, *volume);  // the lock was released, so the mount may be another one now
    if (!volume->mounted && !volume->removed && !stopping_) {
      log::warn("volume \"{}\": its mount ended while in use; it is made anew (running containers keep the dead one)",
                name);
      start_work(volume, true);
    }
  }
}

}  // namespace pkgfs
