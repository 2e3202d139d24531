// SPDX-License-Identifier: MIT
#include "daemon/mount/writable_mount.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/base/private_directory.h"
#include "core/base/utf8.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/overlay_mount.h"
#include "daemon/mount/unmount.h"

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;

std::string random_id() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != static_cast<ssize_t>(sizeof number)) {
    throw system_error("Unable to get a random number", errno);
  }
  return fmt::format("{:016x}", number);
}

/// Whether overlayfs can write there. It can't on another overlay, as in a container, or on network file systems.
bool can_be_written_above(const std::string& path) {
  constexpr std::array<unsigned long, 4> kUnfit{OVERLAYFS_SUPER_MAGIC, FUSE_SUPER_MAGIC, NFS_SUPER_MAGIC,
                                                SMB2_SUPER_MAGIC};
  struct statfs status{};
  return ::statfs(path.c_str(), &status) == 0 &&
         std::ranges::find(kUnfit, static_cast<unsigned long>(status.f_type)) == kUnfit.end();
}

/// The root of the mount has the owner, mode and times of `upper`; a new one gets those of the package's root.
void copy_root(const std::string& lower, const std::string& upper) {
  struct stat wanted{};
  struct stat now{};
  const std::string what = "Unable to prepare \"" + upper + "\"";
  const UniqueFd directory(::open(upper.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!directory || ::stat(lower.c_str(), &wanted) != 0 || ::fstat(directory.get(), &now) != 0) {
    throw system_error(what, errno);
  }
  if (!stdfs::is_empty(upper)) {
    return;  // it has changes
  }
  if ((wanted.st_uid != now.st_uid || wanted.st_gid != now.st_gid) &&
      ::fchown(directory.get(), wanted.st_uid, wanted.st_gid) != 0) {
    throw system_error(what, errno);
  }
  const std::array<timespec, 2> times{wanted.st_atim, wanted.st_mtim};
  if (::fchmod(directory.get(), wanted.st_mode & 07777U) != 0 || ::futimens(directory.get(), times.data()) != 0) {
    throw system_error(what, errno);
  }
}

/// Takes the lock on `run_base`. A process that was stopped may hold it for ever.
void take_turn(const UniqueFd& base) {
  constexpr auto kLimit = std::chrono::seconds(5);
  constexpr auto kStep = std::chrono::milliseconds(5);
  const auto deadline = std::chrono::steady_clock::now() + kLimit;
  while (::flock(base.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      throw system_error("Unable to lock \"" + run_base() + "\"", errno);
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      throw Error(ErrorCode::kBusy, "Another process holds the lock on \"" + run_base() + "\"");
    }
    std::this_thread::sleep_for(kStep);
  }
}

/// The records of a mount are JSON, which has no other text.
void refuse_other_text(const std::string& path) {
  if (!is_utf8(path)) {
    throw Error(ErrorCode::kUsage, "\"" + path + "\" isn't UTF-8, so --writable can't use it");
  }
}

}  // namespace

void refuse_with_writable(const MountOptions& options) {
  if (!options.writable) {
    if (options.writable_size || options.writable_inodes || options.rebase) {
      throw Error(ErrorCode::kUsage, "--writable-size, --writable-inodes and --rebase need --writable");
    }
    return;
  }
  const std::pair<bool, const char*> refused[] = {
      {options.tree.follow_manifest, "--follow-manifest: what lies below changes must stay as it is"},
      {options.follow.has_value(), "--follow: what lies below changes must stay as it is"},
      {options.keep_old > 0 || !options.on_change.empty(), "--keep-old and --on-change: it can't be refreshed"},
      {options.auto_unmount, "--auto-unmount: it can't unmount what lies above"},
      {options.allow_root, "--allow-root"},
      {!options.allow_other.value_or(true) && overlay_engine() != OverlayEngine::kFuse,
       "--no-allow-other: the kernel reads what lies below changes as the user who mounts, for all users"},
      {options.tree.view == View::kPackage, "--view=package: a program can't use the parts of a package"},
      {!options.security.empty(), "a context of SELinux"},
  };
  for (const auto& [is_set, name] : refused) {
    if (is_set) {
      throw Error(ErrorCode::kUsage, std::string("--writable can't be used with ") + name);
    }
  }
  const bool has_limits = options.writable_size || options.writable_inodes;
  if (has_limits && !options.writable_dir.empty()) {
    throw Error(ErrorCode::kUsage,
                "--writable-size and --writable-inodes limit changes in memory, but DIR of "
                "--writable is on a disk");
  }
  if (options.rebase && options.writable_dir.empty()) {
    throw Error(ErrorCode::kUsage, "--rebase needs --writable=DIR");
  }
  if (has_limits && ::geteuid() != 0) {
    throw Error(ErrorCode::kPermission,
                "--writable-size and --writable-inodes need root, or a user namespace "
                "(unshare -rm): only root may mount a file system in memory");
  }
}

WritablePlace::WritablePlace(const MountOptions& options, const std::string& mountpoint, const OpenedTree& opened) {
  for (const auto& [id, package] : opened.tree.packages) {
    if (package->is_live()) {
      throw Error(ErrorCode::kUsage, {"\"" + package->name() +
                                          "\" is a live directory, which may change at any time; "
                                          "what lies below changes must stay as it is",
                                      "make a package of it first: pkgfs pack"});
    }
  }
  run_.mountpoint = mountpoint;
  run_.engine = overlay_engine();
  run_.is_image = options.engine == Engine::kErofs;
  try {
    refuse_other_text(mountpoint);
    make_run_directory();
    make_place_of_changes(options);
    refuse_other_text(run_.changes);
    std::error_code failed;
    const std::string place = stdfs::weakly_canonical(run_.changes, failed);
    if (is_below(mountpoint, place) || is_below(place, mountpoint)) {
      throw Error(ErrorCode::kUsage, "The changes in \"" + run_.changes + "\" and the mount point \"" + mountpoint +
                                         "\" can't lie in each other");
    }
    changes_.emplace(ChangesDirectory::prepare(run_.changes, run_.engine, opened, options));
    run_.changes = changes_->path();
    refuse_other_text(run_.changes);
    locks_.push_back(std::move(changes_->lock()));
    run_.write();
  } catch (...) {
    undo();
    throw;
  }
}

WritablePlace::~WritablePlace() {
  if (!kept_) {
    undo();
  }
}

void WritablePlace::undo() noexcept {
  if (!run_.directory.empty()) {
    end_run(run_);
  }
  if (changes_) {
    changes_->take_back();
    changes_.reset();
  }
}

void WritablePlace::make_run_directory() {
  // While this lock is held, no other process takes the new directory for one that a daemon has left.
  UniqueFd turn = open_run_base(true);
  take_turn(turn);
  StaleRuns stale = StaleRuns::claim();
  const std::string directory = run_base() + "/" + random_id();
  for (const std::string& path : {directory, directory + "/lower"}) {
    if (::mkdir(path.c_str(), 0700) != 0) {
      throw cannot_create_directory(path, errno);
    }
    run_.directory = directory;
  }
  std::optional<UniqueFd> lock = lock_directory(directory);
  if (!lock) {
    throw Error(ErrorCode::kBusy, "Another process uses \"" + directory + "\"");
  }
  locks_.push_back(*std::move(lock));
  turn.reset();
  stale.end();
}

void WritablePlace::make_place_of_changes(const MountOptions& options) {
  if (!options.writable_dir.empty()) {
    run_.changes = options.writable_dir;
    return;
  }
  run_.discards = true;
  const std::string base = changes_base();
  if (!options.writable_size && !options.writable_inodes && !base.empty()) {
    const PrivateDirectory place = PrivateDirectory::make(base);
    place.require_control();
    if (run_.engine == OverlayEngine::kFuse || can_be_written_above(base)) {
      run_.changes = place.path_of(stdfs::path(run_.directory).filename());
      return;
    }
    log::info("\"{}\" can't hold changes of an overlay: they are in memory", base);
  }
  if (run_.engine == OverlayEngine::kFuse) {
    throw Error(ErrorCode::kUsage, "There is no place for the changes: set HOME, or use --writable=DIR");
  }
  run_.changes = run_.directory + "/changes";
  if (::mkdir(run_.changes.c_str(), 0700) != 0) {
    throw cannot_create_directory(run_.changes, errno);
  }
  run_.is_tmpfs = true;
  mount_tmpfs(run_.changes, {.bytes = options.writable_size, .inodes = options.writable_inodes});
}

std::optional<ChangesDirectory> WritablePlace::take_changes() {
  std::optional<ChangesDirectory> taken = std::move(changes_);
  changes_.reset();
  return taken;
}

std::vector<UniqueFd> WritablePlace::locks() const {
  std::vector<UniqueFd> copies;
  for (const UniqueFd& lock : locks_) {
    copies.emplace_back(::fcntl(lock.get(), F_DUPFD_CLOEXEC, 0));
  }
  return copies;
}

WritableMount::WritableMount(WritableRun run, std::vector<UniqueFd> locks, std::optional<ChangesDirectory> changes)
    : run_(std::move(run)),
      locks_(std::move(locks)),
      changes_(std::move(changes)),
      table_(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)),
      changed_(::epoll_create1(EPOLL_CLOEXEC)) {
  epoll_event event{.events = EPOLLPRI, .data = {}};
  if (!table_ || !changed_ || ::epoll_ctl(changed_.get(), EPOLL_CTL_ADD, table_.get(), &event) != 0) {
    throw system_error("Unable to watch the mount table", errno);
  }
}

WritableMount WritableMount::adopt(const std::string& lower, std::vector<UniqueFd> locks) {
  const std::optional<std::string> directory = run_directory_of(lower);
  std::optional<WritableRun> run = directory ? WritableRun::read(*directory) : std::nullopt;
  if (!run) {
    throw Error(ErrorCode::kMount, "The record of the writable mount above \"" + lower + "\" is missing");
  }
  return {*std::move(run), std::move(locks), std::nullopt};
}

void WritableMount::attach(const MountOptions& options, const std::string& source,
                           const std::function<void(int root)>& prepare) {
  const UniqueFd claim = claim_mountpoint(options.mountpoint, run_.mountpoint);
  try {
    copy_root(run_.lower(), run_.upper());
    mount_overlay({.source = source,
                   .lower = run_.lower(),
                   .upper = run_.upper(),
                   .work = run_.changes + "/work",
                   .mountpoint = run_.mountpoint,
                   .engine = run_.engine,
                   .is_volatile = run_.discards,
                   .noexec = options.noexec,
                   .nosymfollow = options.nosymfollow,
                   .allow_other = options.allow_other.value_or(false)},
                  prepare);
    if (changes_) {
      changes_->write_record();
    }
  } catch (...) {
    if (changes_) {
      detach();
      changes_->take_back();
    }
    throw;
  }
}

bool WritableMount::is_attached() const { return overlay_above(run_.lower(), read_mount_table()).has_value(); }

void WritableMount::take_change() const {
  epoll_event event{};
  (void)::epoll_wait(changed_.get(), &event, 1, 0);
}

void WritableMount::detach_lower() const noexcept {
  try {
    if (const auto top = find_mount(run_.lower()); top && top->type == kMountType) {
      unmount(run_.lower(), true);
    }
  } catch (const std::exception& error) {
    log::warn("{}", error);
  }
}

void WritableMount::detach() const noexcept {
  try {
    (void)detach_overlay(run_.lower());
  } catch (const std::exception& error) {
    log::warn("{}", error);
  }
}

std::vector<int> WritableMount::locks() const {
  std::vector<int> numbers;
  for (const UniqueFd& lock : locks_) {
    numbers.push_back(lock.get());
  }
  return numbers;
}

}  // namespace pkgfs
