// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <initializer_list>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/private_directory.h"
#include "daemon/mount/overlay_mount.h"
#include "daemon/mount/remove_tree.h"
#include "daemon/mount/unmount.h"
#include "daemon/mount/writable_run.h"

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;

/// Unmounts what pkgfs has mounted in a run directory: mounts of these types. Throws Error if something else covers it.
void detach_all(const std::string& path, std::initializer_list<std::string_view> types) {
  constexpr int kMost = 16;  // the kernel may refuse one silently, below a mount of a directory above
  for (int i = 0; i < kMost; ++i) {
    const std::optional<MountEntry> top = find_mount(path);
    if (!top) {
      return;
    }
    if (std::ranges::find(types, top->type) == types.end()) {
      throw Error(ErrorCode::kMount, "\"" + path + "\" stays: \"" + top->source + "\" is mounted above it");
    }
    unmount(path, true);
  }
  throw Error(ErrorCode::kMount, "\"" + path + "\" stays mounted");
}

/// Whether `changes` are those that pkgfs made for the run itself. A record that says something else is never a reason
/// to remove a directory.
bool are_own_changes(const WritableRun& run) {
  const std::string base = changes_base();
  std::error_code failed;
  const stdfs::path real = base.empty() ? stdfs::path() : stdfs::weakly_canonical(base, failed);
  return !real.empty() && !failed && stdfs::path(run.changes) == real / stdfs::path(run.directory).filename();
}

/// What the record says. A process that was killed early has left none, and a corrupt one says nothing.
WritableRun run_in(const std::string& directory) {
  try {
    if (std::optional<WritableRun> run = WritableRun::read(directory)) {
      return *std::move(run);
    }
  } catch (const Error& error) {
    log::debug("{}", error);
  }
  return {.directory = directory, .mountpoint = directory, .changes = directory + "/changes", .is_tmpfs = true};
}

/// Calls `visit` for each entry that has the name of a run. Errors of one entry don't keep it from the others.
template <typename Visit>
void for_each_run(const std::string& base, const Visit& visit) {
  std::error_code failed;
  for (stdfs::directory_iterator entry(base, failed), end; !failed && entry != end; entry.increment(failed)) {
    try {
      if (is_run_id(entry->path().filename())) {
        visit(entry->path().string());
      }
    } catch (const std::exception& error) {
      log::debug("\"{}\": {}", entry->path().string(), error);
    }
  }
}

/// Whether a mount table that can be believed lists the overlay above `lower`, or a table can't be read.
bool is_in_a_table(const std::string& lower) {
  bool is_listed = false;
  const bool is_complete = for_each_mount_table(
      [&](const std::string& mountinfo) {
        is_listed = is_listed || overlay_above(lower, parse_mountinfo(mountinfo)).has_value();
      },
      TablesOf::kOwnUserNamespace);
  return is_listed || !is_complete;
}

}  // namespace

bool detach_overlay(const std::string& lower) {
  constexpr int kMost = 16;
  for (int i = 0; i < kMost; ++i) {
    const std::optional<MountEntry> overlay = overlay_above(lower, read_mount_table());
    if (!overlay) {
      return true;
    }
    const std::optional<MountEntry> top = find_mount(overlay->mountpoint);
    if (!top || top->device != overlay->device) {
      break;
    }
    unmount(overlay->mountpoint, true);
  }
  log::warn(
      "another file system is mounted over the changes above \"{}\", so that they stay mounted; unmount both, then "
      "\"pkgfs unmount\" clears the rest",
      lower);
  return false;
}

bool outlives_its_process(const WritableRun& run) {
  if (!run.is_image) {
    return false;
  }
  try {
    const bool is_here = ::access(run.upper().c_str(), F_OK) == 0 || errno != ENOENT;
    if (is_here) {
      // A mount that is being made of the same changes has the lock.
      const std::optional<UniqueFd> lock = lock_directory(run.changes);
      if (!lock || is_upper_in_use(run.upper())) {
        return true;
      }
    }
    // An upper layer in memory may be mounted only in the mount namespace of `pkgfs mount`. Else the kernel has
    // answered.
    return (run.is_tmpfs || !is_here) && is_in_a_table(run.lower());
  } catch (const std::exception& error) {
    log::warn("What the writable mount at \"{}\" has left stays: {}", run.mountpoint, error);
    return true;
  }
}

void end_run(const WritableRun& run) noexcept {
  try {
    if (!detach_overlay(run.lower())) {
      return;
    }
    detach_all(run.lower(), {kMountType, kImageType});
    if (run.is_tmpfs && run.changes == run.directory + "/changes") {
      detach_all(run.changes, {"tmpfs"});
      ::rmdir(run.changes.c_str());
    } else if (run.discards && are_own_changes(run)) {
      try {
        remove_tree(run.changes);
      } catch (const Error& error) {
        log::warn("{}", error);
      }
    } else if (run.discards) {
      log::warn("the changes in \"{}\" stay: pkgfs doesn't make such a directory here", run.changes);
    }
    ::unlink((run.directory + "/mount.json").c_str());
    ::rmdir(run.lower().c_str());
    if (::rmdir(run.directory.c_str()) != 0 && errno != ENOENT) {
      log::warn("the directory \"{}\" stays", run.directory);
    }
  } catch (const std::exception& error) {
    log::warn("\"{}\": {}", run.mountpoint, error);
  }
}

StaleRuns StaleRuns::claim() noexcept {
  StaleRuns stale;
  try {
    const std::vector<MountEntry> table = read_mount_table();
    const std::string base = run_base();
    for_each_run(base, [&](const std::string& directory) {
      WritableRun run = run_in(directory);
      if (overlay_above(run.lower(), table)) {
        return;
      }
      if (std::optional<UniqueFd> lock = lock_directory(directory); lock && !outlives_its_process(run)) {
        stale.runs_.emplace_back(std::move(run), *std::move(lock));
      }
    });
    const std::string changes = changes_base();
    if (changes.empty() || !stdfs::exists(changes)) {
      return stale;
    }
    const auto place = PrivateDirectory::find(changes);
    if (!place) {
      return stale;
    }
    place->require_control();
    // A boot clears /run, but not the changes. A container may have a /run of its own.
    for_each_run(changes, [&](const std::string& directory) {
      if (::access((base + "/" + stdfs::path(directory).filename().string()).c_str(), F_OK) == 0 || errno != ENOENT) {
        return;
      }
      if (std::optional<UniqueFd> lock = lock_directory(directory); lock && !is_upper_in_use(directory + "/upper")) {
        stale.changes_.emplace_back(directory, *std::move(lock));
      }
    });
  } catch (const std::exception& error) {
    log::debug("earlier writable mounts: {}", error);
  }
  return stale;
}

void StaleRuns::end() noexcept {
  for (const auto& [run, lock] : runs_) {
    log::info("cleared what an earlier writable mount at \"{}\" has left", run.mountpoint);
    end_run(run);
  }
  for (const auto& [directory, lock] : changes_) {
    try {
      remove_tree(directory);
      log::info("removed \"{}\": the writable mount of these changes ended with an earlier boot", directory);
    } catch (const std::exception& error) {
      log::warn("{}", error);
    }
  }
  runs_.clear();
  changes_.clear();
}

bool wait_for_end(const WritableRun& run, std::chrono::milliseconds limit) {
  constexpr auto kPause = std::chrono::milliseconds(5);
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (::access(run.directory.c_str(), F_OK) == 0) {
    try {
      if (const std::optional<UniqueFd> lock = lock_directory(run.directory)) {
        if (outlives_its_process(run)) {
          return false;
        }
        end_run(run);
        return true;
      }
    } catch (const Error& error) {
      log::debug("{}", error);  // it has just gone
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return false;
    }
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

}  // namespace pkgfs
