// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_package.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string_view>
#include <utility>

#include "core/base/log.h"
#include "core/base/system_limits.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/mount_words.h"
#include "daemon/mount/background.h"
#include "daemon/mount/image_mount.h"
#include "daemon/mount/mount_service.h"
#include "daemon/mount/mount_settings.h"
#include "daemon/mount/mount_table.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/successor.h"
#include "daemon/mount/writable_image.h"
#include "daemon/mount/writable_mount.h"
#include "daemon/packages/followed_tree.h"
#include "daemon/packages/fresh_tree.h"
#include "fuse/session.h"

namespace pkgfs {
namespace {

/// Those of `words` that the mount doesn't have already, without their values: one may be a secret. mount(8) repeats
/// what the kernel shows.
std::string missing_words(const std::vector<std::string>& words, const MountEntry& mounted) {
  const std::vector<std::string> shown = split_mount_words(mounted.options + "," + mounted.super_options);
  const auto shows = [&](std::string_view word) { return std::ranges::find(shown, word) != shown.end(); };
  std::string text;
  for (const std::string& word : words) {
    const bool is_default = (word == "exec" || word == "symfollow") && !shows("no" + word);
    const std::string name = word.substr(0, word.find('='));
    if (!is_default && !shows(word) && (", " + text).find(", " + name + ",") == std::string::npos) {
      text += name + ", ";
    }
  }
  return text.substr(0, text.empty() ? 0 : text.size() - 2);
}

/// What `remount,ro` asks for is what every mount is. Warns of the words that it can't change, as the kernel ignores
/// them. Throws Error(kMount) if no package is mounted there.
int confirm_mounted(const std::string& mountpoint, const std::vector<std::string>& words) {
  const std::optional<MountEntry> mounted = find_package_mount(resolve_mountpoint(mountpoint));
  if (!mounted || (mounted->type != kMountType && mounted->served_at.empty())) {
    throw Error(ErrorCode::kMount, "\"" + mountpoint + "\" can't be remounted: no package is mounted there");
  }
  if (!mounted->served_at.empty()) {
    throw Error(ErrorCode::kMount, {"\"" + mountpoint + "\" can't be remounted: it is a writable mount",
                                    "unmount it, and mount it again without --writable"});
  }
  log::info("\"{}\" is read-only already; nothing was changed", mountpoint);
  if (const std::string missing = missing_words(words, *mounted); !missing.empty()) {
    log::warn("\"{}\" stays as it was mounted: remount doesn't change {}; unmount it and mount it again to change that",
              mountpoint, missing);
  }
  return kExitOk;
}

}  // namespace

void keep_one_heap() {
#ifdef M_ARENA_MAX
  ::mallopt(M_ARENA_MAX, 1);  // NOLINT(concurrency-mt-unsafe): before any thread
#endif
}

/// Checks the device and the mount point and loads the tree before the fork, so that their errors reach the user. No
/// thread lives across the fork: the threads of the network end with `open_tree`.
int mount_package(const MountOptions& options, const Io& io) {
  set_log_level(options.log);
  if (options.remount) {
    return confirm_mounted(options.mountpoint, options.unchanged);
  }
  refuse_with_writable(options);
  raise_open_files();  // a mount needs a descriptor for each package, and again to start its keeper
  if (options.engine == Engine::kErofs) {
    return options.writable ? mount_writable_image(options, io) : mount_image(options, io);
  }
  keep_one_heap();
  if (options.follow && options.io_uring) {
    throw Error(ErrorCode::kUsage, "--follow can't be combined with --io-uring=on, which never closes an old version");
  }
  fuse::check_device();
  // A service manager follows the process that it started, which is not the one of a mount in the background.
  ServiceManager manager = options.foreground ? ServiceManager(io.environment) : ServiceManager();
  if (options.foreground) {
    if (std::optional<Predecessor> stored = stored_mount(options, manager)) {
      return serve_stored_mount(*std::move(stored), options, io, manager);
    }
  }
  const std::string mountpoint = prepare_mountpoint(options.mountpoint);
  manager.status("loading " + options.package);
  OpenedTree opened = open_tree(options.package, options.tree, io);
  refuse_mountpoint_in(opened.tree, options.mountpoint, mountpoint);
  std::optional<FollowedTree> followed;
  if (options.tree.follow_manifest) {
    followed.emplace(opened, options.package, options.tree, io);
  }
  const std::string why = refresh_obstacle(*opened.tree.file_system, options.tree.follow_manifest);
  if (options.follow && !why.empty()) {
    throw Error(ErrorCode::kUsage, "--follow can't be used here: " + why);
  }
  FreshTree fresh(FreshTree::decide(options.package, options.arguments.working_directory), options.tree,
                  options.arguments.working_directory, io);
  const LaterTrees later{.followed = followed ? &*followed : nullptr, .fresh = &fresh};
  std::optional<WritablePlace> writable;
  if (options.writable) {
    writable.emplace(options, mountpoint, opened);
  }
  const std::string served_at = writable ? writable->run().lower() : mountpoint;
  WritablePlace* const place = writable ? &*writable : nullptr;
  if (options.foreground) {
    return serve_mount(
        std::move(opened), later, options, served_at, [](const std::string&) {}, manager, std::nullopt, place);
  }
  const int exit_code = run_in_background(
      io, kStartLimit, is_automounted(mountpoint) ? Leave::kWhenReady : Leave::kAtOnce,
      [&](Readiness& readiness) {
        const auto ready = [&](const std::string& message) {
          readiness.ready();
          log::info("{}", message);  // again: `ready` has turned messages to the system's log
        };
        return serve_mount(std::move(opened), later, options, served_at, ready, manager, std::nullopt, place);
      },
      [&] {
        if (writable) {
          writable->undo();
        } else {
          clear_dead_mount(mountpoint);
        }
      });
  if (writable && exit_code == kExitOk) {
    writable->keep();
  }
  return exit_code;
}

}  // namespace pkgfs
