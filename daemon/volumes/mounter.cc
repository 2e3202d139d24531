// SPDX-License-Identifier: MIT
#include "daemon/volumes/mounter.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/resolve/lock_file.h"
#include "daemon/mount/keeperd.h"
#include "daemon/mount/mount_status.h"
#include "daemon/mount/mount_table.h"
#include "daemon/mount/remove_tree.h"
#include "daemon/mount/unmount.h"
#include "daemon/mount/writable_run.h"

namespace pkgfs {
namespace {

/// Every user may look below the directory: the options of each mount decide which users may see it.
void make_public_directory(const std::string& path) {
  std::error_code failed;
  std::filesystem::create_directories(path, failed);
  if (failed) {
    throw system_error("Unable to create the directory \"" + path + "\"", failed.value());
  }
}

/// Logs the messages of a process that worked on the volume, and throws its error.
void check(const std::string& name, const CommandResult& result) {
  for (const RunReport::Message& message : result.report.messages) {
    log::write(message.is_warning ? log::Level::kWarn : log::Level::kInfo, "volume \"" + name + "\": " + message.text);
  }
  std::istringstream lines(result.output);
  for (std::string line; std::getline(lines, line);) {
    log::info("volume \"{}\": {}", name, line);
  }
  if (result.report.error) {
    throw Error(*result.report.error);
  }
}

}  // namespace

Mounter::Mounter(std::string state_directory, std::string mount_root, OwnProgram program)
    : state_directory_(std::move(state_directory)),
      mount_root_(std::move(mount_root)),
      program_(std::move(program)),
      empty_directory_(state_directory_ + "/empty") {
  make_private_directory(state_directory_ + "/packages");
  make_private_directory(empty_directory_);
  make_public_directory(mount_root_);
  std::error_code failed;
  const std::filesystem::path real = std::filesystem::canonical(mount_root_, failed);
  if (failed) {
    throw system_error("Unable to use the directory \"" + mount_root_ + "\"", failed.value());
  }
  mount_root_ = real;  // mountinfo has no symbolic links
}

std::string Mounter::lock_path(const std::string& name) const {
  return state_directory_ + "/packages/" + name + ".lock";
}

std::string Mounter::changes_path(const std::string& name) const { return state_directory_ + "/changes/" + name; }

std::string Mounter::used_lock(const std::string& name, const VolumeOptions& options) const {
  return options.is_path || options.lock ? std::string() : lock_path(name);
}

void Mounter::prepare(const std::string& name, const VolumeOptions& options, const CancelFlag& cancel,
                      const std::vector<std::string>& variables) const {
  const auto run = [&](const std::vector<std::string>& arguments) {
    check(name, run_own_command(arguments, empty_directory_, IfWeDie::kEndsToo, cancel, program_, variables));
  };
  std::string lock = used_lock(name, options);
  const std::string chosen = lock;
  if (!lock.empty()) {
    lock += ".new";
    run(resolve_arguments(options, lock));
  }
  run(open_arguments(options, lock));
  if (!lock.empty() && std::rename(lock.c_str(), chosen.c_str()) != 0) {
    throw system_error("Unable to write \"" + chosen + "\"", errno);
  }
}

void Mounter::mount(const std::string& name, const VolumeOptions& options, const CancelFlag& cancel,
                    const std::vector<std::string>& variables) const {
  make_public_directory(mount_root_);  // it may be below /run, which an administrator can clear
  const std::string path = mountpoint(name);
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
    throw system_error("Unable to create the directory \"" + path + "\"", errno);
  }
  std::vector<std::string> words = mount_arguments(options, used_lock(name, options), path);
  if (options.keeps_changes) {
    make_private_directory(state_directory_ + "/changes");
    words.insert(words.begin() + 1, "--writable=" + changes_path(name));
  }
  // A driver in a container is in the mount namespace of the host by now. So the socket is that of the host's keeperd,
  // which outlives the container as the mount does.
  const auto names_keeper = [](const std::string& word) { return word.starts_with("keeper"); };
  if (std::string why; std::ranges::none_of(options.words, names_keeper) && connect_to_keeperd(keeperd_socket(), why)) {
    words.insert(words.begin() + 1, "--keeper=external");
  }
  check(name, run_own_command(words, empty_directory_, IfWeDie::kGoesOn, cancel, program_, variables));
}

void Mounter::unmount(const std::string& name, bool lazy) const {
  constexpr auto kLimit = std::chrono::seconds(2);
  const std::string path = mountpoint(name);
  while (is_mounted(name)) {
    const std::optional<WritableRun> writable = find_run(path);
    pkgfs::unmount(path, lazy);
    if (writable && !wait_for_end(*writable, kLimit)) {
      log::info("volume \"{}\": its changes are still in use", name);
    }
  }
  if (::rmdir(path.c_str()) != 0 && errno != ENOENT) {
    log::debug("the directory \"{}\" stays", path);
  }
}

void Mounter::forget(const std::string& name) const noexcept {
  try {
    unmount(name, true);
  } catch (const std::exception& error) {
    log::warn("volume \"{}\": {}", name, error);
  }
  for (const char* suffix : {"", ".new"}) {
    ::unlink((lock_path(name) + suffix).c_str());
  }
  // First of all the name goes, so that a later volume of the same name has no changes.
  try {
    if (const std::optional<std::string> aside = set_aside(name)) {
      remove_tree(*aside);
    }
  } catch (const std::exception& error) {
    log::warn("volume \"{}\": its changes stay: {}", name, error);
  }
}

std::optional<std::string> Mounter::set_aside(const std::string& name) const {
  const std::string path = changes_path(name);
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) {
      return std::nullopt;
    }
    throw system_error("Unable to look at \"" + path + "\"", errno);
  }
  const std::string orphans = state_directory_ + "/changes/.orphans";  // no volume has this name
  make_private_directory(orphans);
  constexpr int kMost = 10000;
  for (int i = 1; i < kMost; ++i) {
    std::string aside = orphans + "/" + name + (i == 1 ? "" : "." + std::to_string(i));
    if (::renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, aside.c_str(), RENAME_NOREPLACE) == 0) {
      return aside;
    }
    if (errno != EEXIST) {
      break;
    }
  }
  throw system_error("Unable to move \"" + path + "\" to \"" + orphans + "\"", errno);
}

void Mounter::refuse_old_changes(const std::string& name) const {
  if (const std::optional<std::string> aside = set_aside(name)) {
    log::warn("the changes of an earlier volume \"{}\" are in \"{}\"", name, *aside);
  }
}

void Mounter::forget_all_but(const std::set<std::string>& names) const {
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(state_directory_ + "/packages", failed)) {
    const std::filesystem::path& path = entry.path();
    if (path.extension() != ".lock" || !names.contains(path.stem())) {
      ::unlink(path.c_str());
    }
  }
  for (std::filesystem::directory_iterator entry(state_directory_ + "/changes", failed), end; !failed && entry != end;
       entry.increment(failed)) {
    const std::string name = entry->path().filename();
    if (name == ".orphans" || names.contains(name)) {
      continue;
    }
    try {
      if (const std::optional<std::string> aside = set_aside(name)) {
        log::warn("the changes of \"{}\", which is no volume any more, are in \"{}\"", name, *aside);
      }
    } catch (const std::exception& error) {
      log::warn("the changes of \"{}\", which is no volume any more: {}", name, error);
    }
  }
}

bool Mounter::is_prepared(const std::string& name, const VolumeOptions& options) const {
  const std::string lock = used_lock(name, options);
  std::error_code failed;
  return lock.empty() || std::filesystem::exists(lock, failed);
}

std::string Mounter::resolved(const std::string& name) const {
  constexpr std::size_t kMost = 64U << 20U;
  try {
    const auto text = read_small_file(lock_path(name), kMost);
    return text ? parse_lock(*text).packages.front().summary.pkg.id.to_string() : std::string();
  } catch (const Error& error) {
    log::debug("volume \"{}\": {}", name, error);
    return {};
  }
}

bool Mounter::is_mounted(const std::string& name) const {
  const auto mounted = find_package_mount(mountpoint(name));
  return mounted && mounted->type == kMountType;
}

std::string Mounter::asked_path(const std::string& name) const {
  const auto mounted = find_package_mount(mountpoint(name));
  return mounted ? mounted->asked_path() : mountpoint(name);
}

std::map<std::string, Mounter::Found> Mounter::find_mounts() const {
  std::map<std::string, Found> found;
  std::map<std::string, std::string> asked;
  for (const MountEntry& entry : our_mounts()) {
    const std::filesystem::path path(entry.mountpoint);
    if (path.parent_path() == mount_root_) {
      found[path.filename()].package = entry.source;
      asked[path.filename()] = entry.asked_path();
    }
  }
  std::vector<std::string> paths;
  paths.reserve(found.size());
  for (const auto& [name, path] : asked) {
    paths.push_back(path);
  }
  const std::vector<MountState> states = probe_mounts(paths, kProbeLimit);
  auto state = states.begin();
  for (auto& [name, mounted] : found) {
    mounted.state = *state++;
  }
  return found;
}

}  // namespace pkgfs
