// SPDX-License-Identifier: MIT
#include "daemon/mount/mountpoint.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/mount/image_mount.h"
#include "daemon/mount/mount_probe.h"
#include "daemon/mount/mount_table.h"
#include "daemon/mount/unmount.h"
#include "daemon/mount/writable_run.h"
#include "daemon/packages/own_source.h"

namespace pkgfs {
namespace {
constexpr int kMostLinks = 40;  // as the kernel

std::string name_of_mountpoint(const std::string& given) { return "The mount point \"" + given + "\""; }

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr), &std::free);
  if (resolved == nullptr) {
    throw system_error("\"" + path + "\"", errno);
  }
  return resolved.get();
}

/// Removes slashes and "." components at the end, which change nothing for a directory.
std::string trimmed(std::string path) {
  while (path.size() > 1 && (path.ends_with('/') || path.ends_with("/."))) {
    path.pop_back();
  }
  return path;
}

std::string resolve(const std::string& given, int links_left) {
  const std::string path = trimmed(given);
  if (path == "/" || path == "." || path == ".." || path.ends_with("/..")) {
    return real_path(path);
  }
  const std::size_t slash = path.rfind('/');
  const std::string above = slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
  const std::string parent = real_path(above);
  std::string resolved = parent + (parent == "/" ? "" : "/") + path.substr(slash + 1);  // npos + 1 is 0
  if (find_mount(resolved)) {
    return resolved;
  }
  std::array<char, PATH_MAX> text{};
  const ssize_t length = ::readlink(resolved.c_str(), text.data(), text.size());
  if (length <= 0) {
    return resolved;
  }
  if (links_left == 0) {
    throw system_error("\"" + given + "\"", ELOOP);
  }
  // The link's target may be a mount as well.
  const std::string target(text.data(), static_cast<std::size_t>(length));
  return resolve(target.starts_with('/') ? target : parent + "/" + target, links_left - 1);
}

/// Taken before a dead mount is unmounted, which works by its path: between a look at the mount and its unmount,
/// another process could unmount it and mount there anew. A lock on the directory above, since the kernel opens nothing
/// in a dead mount. None if this user may not read that directory, or another process holds the lock for long.
UniqueFd take_turn(const std::string& path) {
  constexpr auto kLimit = std::chrono::seconds(5);
  constexpr auto kStep = std::chrono::milliseconds(5);
  const std::string above = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
  UniqueFd directory(::open(above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto deadline = std::chrono::steady_clock::now() + kLimit;
  while (directory && ::flock(directory.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK || std::chrono::steady_clock::now() >= deadline) {
      return {};
    }
    std::this_thread::sleep_for(kStep);
  }
  return directory;
}

/// Unmounts the dead mount of pkgfs at `path`, unless another process has done so meanwhile. Returns whether this
/// process did.
bool unmount_dead(const std::string& path) {
  const UniqueFd turn = take_turn(path);
  // Looked at again. The device doesn't tell: the kernel may have given its number to a new mount.
  const std::optional<MountEntry> now = find_mount(path);
  if (!now || now->type != kMountType || probe_mount(path, kProbeLimit) != MountState::kDead) {
    return false;
  }
  unmount(path, true);
  return true;
}

/// Unmounts a writable mount if it is dead. Throws Error(kBusy) if it isn't.
void clear_writable(const std::string& given, const MountEntry& mount) {
  const auto lives = [](const std::string& path) { return probe_mount(path, kProbeLimit) != MountState::kDead; };
  const std::optional<WritableRun> run = find_run(mount.mountpoint);
  const bool lower_lives = mount.type == kImageType || (find_mount(mount.served_at) && lives(mount.served_at));
  if (lower_lives && lives(mount.mountpoint)) {
    throw Error(ErrorCode::kBusy,
                {"\"" + image_package(mount).value_or(mount.source) + "\" is already mounted at \"" + given + "\"",
                 "unmount it first: pkgfs unmount " + mount.mountpoint});
  }
  unmount(mount.mountpoint, true);
  if (run) {
    (void)wait_for_end(*run, kProbeLimit);
  }
  log::warn("cleared a dead mount of \"{}\" at \"{}\"", mount.source, given);
}

/// Unmounts dead mounts of pkgfs. A live mount of another kind may be mounted over, as mount(8) does. Everything else
/// is an error.
void clear_mountpoint(const std::string& given, const std::string& path) {
  while (const std::optional<MountEntry> mounted = find_mount(path)) {
    if (const std::optional<std::string> package = image_package(*mounted)) {
      throw Error(ErrorCode::kBusy, {"\"" + *package + "\" is already mounted at \"" + given + "\"",
                                     "unmount it first: pkgfs unmount " + path});
    }
    if (const std::optional<MountEntry> writable = find_package_mount(path); writable && !writable->served_at.empty()) {
      clear_writable(given, *writable);
      continue;
    }
    if (!mounted->type.starts_with("fuse")) {
      return;
    }
    const bool is_ours = mounted->type == kMountType;
    const MountState state = probe_mount(path, kProbeLimit);
    if (state == MountState::kStuck) {
      throw Error(ErrorCode::kBusy,
                  {"\"" + mounted->source + "\" is already mounted at \"" + given + "\" and doesn't answer",
                   "unmount it first: " + std::string(is_ours ? "pkgfs unmount --lazy " : "umount -l ") + path});
    }
    if (is_ours && state == MountState::kLive) {
      throw Error(ErrorCode::kBusy, {"\"" + mounted->source + "\" is already mounted at \"" + given + "\"",
                                     "unmount it first: pkgfs unmount " + path});
    }
    if (state == MountState::kLive) {
      return;
    }
    if (!is_ours) {
      throw Error(ErrorCode::kMount, {name_of_mountpoint(given) + " is a dead mount of " + mounted->type + " (" +
                                          mounted->source + "), which pkgfs did not make",
                                      "unmount it first: umount -l " + path});
    }
    if (unmount_dead(path)) {
      log::warn("cleared a dead mount of \"{}\" at \"{}\"", mounted->source, given);
    }
  }
}

/// Whether a directory is on a file system that the kernel makes up. A mount there surprises everybody, and some of
/// these directories are another one at the next look-up.
bool is_of_the_kernel(int directory) {
  constexpr std::array kMagics{PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC};
  struct statfs status{};
  return ::fstatfs(directory, &status) == 0 && std::ranges::find(kMagics, status.f_type) != kMagics.end();
}

}  // namespace

std::string resolve_mountpoint(const std::string& path) {
  const std::string what = name_of_mountpoint(path) + " can't be used";
  if (path.empty()) {
    throw Error(ErrorCode::kUsage, {what, "it is empty"});
  }
  try {
    return resolve(path, kMostLinks);
  } catch (Error& error) {
    throw std::move(error).context(what);
  }
}

std::string prepare_mountpoint(const std::string& given) {
  const std::string what = name_of_mountpoint(given);
  std::string path = resolve_mountpoint(given);
  if (path == "/") {
    throw Error(ErrorCode::kUsage, what + " can't be used: the mount would hide all files");
  }
  clear_mountpoint(given, path);
  const UniqueFd directory(::open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat status{};
  if (!directory || ::fstat(directory.get(), &status) != 0) {
    throw system_error(what + " can't be used", errno);
  }
  if (!S_ISDIR(status.st_mode)) {
    throw Error(ErrorCode::kUsage, what + " is not a directory");
  }
  if (is_of_the_kernel(directory.get())) {
    throw Error(ErrorCode::kUsage, what + " lies in a file system of the kernel (proc, sysfs or cgroup)");
  }
  return path;
}

UniqueFd claim_mountpoint(const std::string& given, const std::string& path) {
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory && ::flock(directory.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    throw Error(ErrorCode::kBusy, "Another process is just mounting at \"" + given + "\"");
  }
  clear_mountpoint(given, path);
  return directory;
}

bool is_automounted(const std::string& mountpoint) {
  const UniqueFd directory(::open(mountpoint.c_str(), O_PATH | O_CLOEXEC));
  struct statfs status{};
  return directory && ::fstatfs(directory.get(), &status) == 0 && status.f_type == AUTOFS_SUPER_MAGIC;
}

void refuse_mountpoint_in(const PackageTree& tree, const std::string& given, const std::string& mountpoint) {
  const UniqueFd directory(::open(mountpoint.c_str(), O_PATH | O_CLOEXEC));
  if (!directory) {
    throw system_error(name_of_mountpoint(given) + " can't be used", errno);
  }
  refuse_own_source(tree, directory.get(), name_of_mountpoint(given));
}

void clear_dead_mount(const std::string& mountpoint) noexcept {
  try {
    const std::optional<MountEntry> mounted = find_mount(mountpoint);
    if (mounted && mounted->type == kMountType && probe_mount(mountpoint, kProbeLimit) == MountState::kDead) {
      (void)unmount_dead(mountpoint);
    }
  } catch (const std::exception& error) {
    log::debug("\"{}\" stays mounted: {}", mountpoint, error);
  }
}

}  // namespace pkgfs
