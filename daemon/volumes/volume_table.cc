// SPDX-License-Identifier: MIT
#include "daemon/volumes/volume_table.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <filesystem>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "core/base/log.h"

namespace pkgfs {
namespace {

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

/// Whether the same request would fail again later.
bool is_final(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kUsage:
    case ErrorCode::kNotFound:
    case ErrorCode::kCorrupt:
    case ErrorCode::kUnsupported:
    case ErrorCode::kResolve:
    case ErrorCode::kLoad:
      return true;
    default:
      return false;
  }
}

Error named(Error error, const std::string& name) { return std::move(error).context("volume \"" + name + "\""); }

}  // namespace

std::string VolumeTable::Volume::package() const {
  const auto found = record.options.find("package");
  return found == record.options.end() ? std::string() : found->second;
}

VolumeTable::VolumePtr VolumeTable::find(const std::string& name) const {
  const auto found = volumes_.find(name);
  if (found == volumes_.end() || found->second->removed) {
    throw NoSuchVolume(name);
  }
  return found->second;
}

std::vector<VolumeTable::VolumePtr> VolumeTable::all() const {
  std::vector<VolumePtr> found;
  for (const auto& [name, volume] : volumes_) {
    if (!volume->removed) {
      found.push_back(volume);
    }
  }
  return found;
}

void VolumeTable::save() {
  VolumeState state{boot_, {}};
  for (const VolumePtr& volume : all()) {
    state.volumes.push_back(volume->record);
  }
  save_volume_state(settings_.state_file, state);
}

void VolumeTable::save_or_warn() noexcept {
  try {
    save();
  } catch (const std::exception& error) {
    log::warn("{}", error);
  }
}

VolumeDescription VolumeTable::describe(const Volume& volume) const {
  std::string state = volume.record.prepared ? "ready" : "waiting";
  if (volume.mounted) {
    state = "mounted";
  } else if (volume.busy) {
    state = volume.record.prepared ? "mounting" : "resolving";
  } else if (volume.problem) {
    state = "failed";
  }
  nlohmann::json status{{"package", volume.package()}, {"state", state}, {"users", volume.record.ids.size()}};
  if (!volume.resolved.empty()) {
    status["resolved"] = volume.resolved;
  }
  if (volume.problem) {
    status["error"] = one_line(*volume.problem);
  }
  return {volume.record.name, volume.mounted ? mounter_.mountpoint(volume.record.name) : std::string(),
          volume.record.created, std::move(status)};
}

VolumeDescription VolumeTable::get(const std::string& name) {
  const Lock lock(mutex_);
  return describe(*find(name));
}

std::vector<VolumeDescription> VolumeTable::list() {
  const Lock lock(mutex_);
  std::vector<VolumeDescription> described;
  for (const VolumePtr& volume : all()) {
    described.push_back(describe(*volume));
  }
  return described;
}

std::vector<VolumeTable::User> VolumeTable::users() {
  const Lock lock(mutex_);
  std::vector<User> users;
  for (const VolumePtr& volume : all()) {
    for (const std::string& id : volume->record.ids) {
      users.push_back({volume->record.name, volume->record.options, id});
    }
  }
  return users;
}

std::string VolumeTable::own_lock(const DriverOptions& options) const {
  const auto found = options.find("lock");
  const bool is_own = !settings_.lock_directory.empty() && found != options.end() &&
                      found->second.starts_with(settings_.lock_directory + "/");
  return is_own ? found->second : std::string();
}

void VolumeTable::create(const std::string& name, const DriverOptions& options, std::vector<std::string> variables,
                         const std::string& lock_text, Clock::time_point latest) {
  check_volume_name(name);
  (void)parse_volume_options(options);
  const auto deadline = std::min(latest, Clock::now() + settings_.mount_wait);
  const auto write_lock = [&] {
    std::error_code failed;
    if (const std::string path = own_lock(options); !path.empty() && !std::filesystem::exists(path, failed)) {
      make_private_directory(settings_.lock_directory);
      write_file_atomically(path, lock_text, Durability::kSynced);
    }
  };
  Lock lock(mutex_);
  for (auto found = volumes_.find(name); found != volumes_.end(); found = volumes_.find(name)) {
    const VolumePtr before = found->second;
    if (!before->removed) {
      if (before->record.options == options) {
        write_lock();
        before->variables = std::move(variables);
        before->idle_until = std::max(before->idle_until, idle_end(*before));
        return;
      }
      throw Error(ErrorCode::kUsage, "volume \"" + name + "\" exists with other options");
    }
    if (!wait_until_free(lock, *before, deadline)) {
      throw Error(ErrorCode::kBusy,
                  "the earlier volume \"" + name + "\" is still being removed; try again in a moment");
    }
  }
  const auto volume = std::make_shared<Volume>();
  volume->record = {.name = name, .options = options, .created = now_text(), .prepared = false, .ids = {}};
  volume->variables = std::move(variables);
  volume->idle_until = idle_end(*volume);
  volumes_[name] = volume;
  try {
    mounter_.refuse_old_changes(name);
    write_lock();
    save();
  } catch (...) {
    volumes_.erase(name);
    throw;
  }
  log::info("volume \"{}\" is created: \"{}\"", name, volume->package());
  start_work(volume, false);
  if (wait_until_free(lock, *volume, std::min(deadline, Clock::now() + settings_.create_wait)) && volume->problem &&
      is_final(*volume->problem) && !volume->removed) {
    const Error problem = named(*volume->problem, name);
    drop(lock, volume);
    throw problem;
  }
}

VolumeDriver::Mounted VolumeTable::mount(const std::string& name, const std::string& id, Clock::time_point deadline) {
  Lock lock(mutex_);
  const VolumePtr volume = find(name);
  ensure_mounted(lock, volume, deadline);
  const bool is_new = volume->record.ids.insert(id).second;
  volume->had_user = true;
  if (is_new) {
    try {
      save();
    } catch (...) {
      volume->record.ids.erase(id);
      throw;
    }
  }
  log::info("volume \"{}\" has {} users", name, volume->record.ids.size());
  changed_.notify_all();
  return {mounter_.mountpoint(name), is_new};
}

void VolumeTable::ensure_mounted(Lock& lock, const VolumePtr& volume, Clock::time_point deadline) {
  const std::string name = volume->record.name;
  const std::size_t tries = volume->tries;
  bool checked = false;  // this call has seen the mount answer, or has had it made
  while (true) {
    if (!wait_until_free(lock, *volume, deadline)) {
      throw Error(ErrorCode::kBusy, "volume \"" + name + "\": still " +
                                        (volume->record.prepared ? "mounting" : "resolving and downloading") + " \"" +
                                        volume->package() + "\"; that goes on, try again in a moment");
    }
    if (volume->removed && volume->problem) {
      throw named(*volume->problem, name);  // it was removed because of it
    }
    if (volume->removed) {
      throw NoSuchVolume(name);
    }
    if (volume->mounted && checked) {
      return;
    }
    if (volume->mounted) {
      check_mount(lock, *volume);
      checked = volume->mounted;
    } else if (volume->problem && volume->tries > tries) {
      throw named(*volume->problem, name);
    } else {
      start_work(volume, true);
      checked = true;
    }
  }
}

void VolumeTable::check_mount(Lock& lock, Volume& volume) {
  const std::string& name = volume.record.name;
  MountState state = MountState::kDead;
  work_unlocked(lock, volume, [&] {
    if (mounter_.is_mounted(name)) {
      state = probe_mount(mounter_.asked_path(name), std::chrono::seconds(1));
    }
    if (state == MountState::kDead) {
      mounter_.unmount(name, true);
    }
  });
  volume.mounted = state != MountState::kDead;
  if (state == MountState::kStuck) {
    throw Error(ErrorCode::kBusy,
                "volume \"" + name + "\": its mount at \"" + mounter_.mountpoint(name) + "\" doesn't answer");
  }
}

void VolumeTable::unmount(const std::string& name, const std::string& id) {
  const Lock lock(mutex_);
  const VolumePtr volume = find(name);
  if (volume->record.ids.erase(id) == 0) {
    return;
  }
  volume->idle_until = idle_end(*volume);
  log::info("volume \"{}\" has {} users", name, volume->record.ids.size());
  changed_.notify_all();
  save_or_warn();  // the engine can't act on an error here
}

void VolumeTable::remove(const std::string& name) {
  Lock lock(mutex_);
  const VolumePtr volume = find(name);
  if (volume->cancel) {
    volume->cancel->cancel();
  }
  if (!wait_until_free(lock, *volume, Clock::now() + settings_.mount_wait)) {
    throw Error(ErrorCode::kBusy,
                "volume \"" + name +
                    "\" is still busy with a download or mount that is being cancelled; try again in a moment");
  }
  if (volume->removed) {
    throw NoSuchVolume(name);
  }
  drop(lock, volume);
  log::info("volume \"{}\" is removed", name);
}

void VolumeTable::drop(Lock& lock, const VolumePtr& volume) {
  volume->removed = true;
  try {
    save();
  } catch (...) {
    volume->removed = false;
    throw;
  }
  // `create` waits for the end of this before it makes a volume of the same name.
  work_unlocked(lock, *volume, [&] { mounter_.forget(volume->record.name); });
  if (volume->worker.joinable()) {
    volume->worker.join();
  }
  volumes_.erase(volume->record.name);
  const std::string path = own_lock(volume->record.options);
  const auto uses = [&](const VolumePtr& other) { return own_lock(other->record.options) == path; };
  if (!path.empty() && std::ranges::none_of(all(), uses)) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
}

}  // namespace pkgfs
