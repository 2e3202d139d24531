// SPDX-License-Identifier: MIT
#include "daemon/serve/serve_packages.h"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/system_limits.h"
#include "core/cache/file_hash.h"
#include "daemon/cli/logging.h"
#include "daemon/mount/background.h"
#include "daemon/mount/mount_package.h"
#include "daemon/mount/mount_service.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/successor.h"
#include "daemon/packages/flags_elsewhere.h"
#include "daemon/serve/served_directory.h"
#include "fuse/session.h"

namespace pkgfs {
namespace {

/// Options that some packages of a served directory can't have.
void refuse_options(const MountOptions& options) {
  const std::pair<bool, const char*> refused[] = {
      {options.tree.exec_auto, "--exec=auto"},
      {options.tree.follow_manifest, "--follow-manifest"},
  };
  for (const auto& [is_set, name] : refused) {
    if (is_set) {
      throw Error(ErrorCode::kUsage, std::string(name) + " can't be used with \"pkgfs serve\"");
    }
  }
}

bool is_in(std::filesystem::path path, const std::filesystem::path& directory) {
  std::error_code failed;
  for (path = std::filesystem::weakly_canonical(path, failed); !path.empty(); path = path.parent_path()) {
    if (path == directory || std::filesystem::equivalent(path, directory, failed)) {
      return true;
    }
    if (path == path.parent_path()) {
      break;
    }
  }
  return false;
}

/// The daemon would wait for itself if it read a registry directory, the cache or a lock file through its own mount.
void refuse_own_places(const PackageNames& names, const std::string& given, const std::string& mountpoint) {
  for (const std::string& place : names.places()) {
    const bool is_inside = is_in(mountpoint, place);
    if (is_inside || is_in(place, mountpoint)) {
      throw Error(ErrorCode::kUsage, "The mount point \"" + given + "\" " + (is_inside ? "is in" : "would hide") +
                                         " \"" + place + "\", which packages are read from");
    }
  }
}

int serve(PackageNames& names, const MountOptions& options, const std::string& mountpoint,
          const std::function<void(const std::string&)>& ready, ServiceManager& manager,
          std::optional<Predecessor> predecessor = std::nullopt) {
  MountWatch watch;  // before any thread: they inherit the blocked signals
  prepare_to_serve(options, predecessor.has_value());
  // The names of packages aren't paths in some working directory.
  if (::chdir("/") != 0) {
    throw system_error("Unable to enter \"/\"", errno);
  }
  ServedDirectory directory(watch, names, options, mountpoint, manager, std::move(predecessor));
  const int exit_code = directory.serve(ready);
  watch.restore_signals();
  return exit_code;
}

int resume(Predecessor predecessor, const MountOptions& options, const Io& io, ServiceManager& manager) {
  raise_open_files();
  FileHashes::share();
  const std::string mountpoint = predecessor.record.mountpoint;
  PackageNames names(flags_from(options.arguments.working_directory, options.tree), options.locks, io);
  return serve(names, options, mountpoint, [](const std::string&) {}, manager, std::move(predecessor));
}

}  // namespace

int serve_packages(const MountOptions& options, const Io& io) {
  if (options.remount) {
    return mount_package(options, io);  // it changes nothing
  }
  set_log_level(options.log);
  refuse_options(options);
  raise_open_files();
  FileHashes::share();  // each search makes its own sources
  keep_one_heap();
  fuse::check_device();
  ServiceManager manager = options.foreground ? ServiceManager(io.environment) : ServiceManager();
  if (options.foreground) {
    if (std::optional<Predecessor> stored = stored_mount(options, manager)) {
      ++stored->record.generation;
      return resume(*std::move(stored), options, io, manager);
    }
  }
  const std::string mountpoint = prepare_mountpoint(options.mountpoint);
  const std::string& from = options.arguments.working_directory;
  PackageNames names(flags_from(from, options.tree), options.locks, io);
  names.check_directories();
  refuse_own_places(names, options.mountpoint, mountpoint);
  if (options.foreground) {
    return serve(names, options, mountpoint, [](const std::string&) {}, manager);
  }
  return run_in_background(
      io, kStartLimit, is_automounted(mountpoint) ? Leave::kWhenReady : Leave::kAtOnce,
      [&](Readiness& readiness) {
        const auto ready = [&](const std::string& message) {
          readiness.ready();
          log::info("{}", message);  // again: `ready` has turned messages to the system's log
        };
        return serve(names, options, mountpoint, ready, manager);
      },
      [&] { clear_dead_mount(mountpoint); });
}

int resume_serving(Predecessor predecessor, const MountOptions& options, const Io& io) {
  ServiceManager none;
  return resume(std::move(predecessor), options, io, none);
}

}  // namespace pkgfs
