// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_service.h"

#include <csignal>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/mount/crash_reports.h"
#include "daemon/mount/mount_watch.h"
#include "daemon/mount/served_mount.h"

namespace pkgfs {

void prepare_to_serve(const MountOptions& options, bool goes_on) {
  // A write to a client or to standard error that has gone is an error of that write, not the end of the mount.
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(concurrency-mt-unsafe): before any thread
  std::signal(SIGXFSZ, SIG_IGN);  // NOLINT(concurrency-mt-unsafe): a limit of file sizes is an error, too
  if (options.crash_dir.empty()) {
    return;
  }
  try {
    CrashReports::write_stacks_to(options.crash_dir);
  } catch (const Error& error) {
    if (!goes_on) {
      throw;
    }
    log::warn("the mount goes on without this: {}", error);
  }
}

int serve_mount(OpenedTree opened, LaterTrees later, const MountOptions& options, const std::string& mountpoint,
                const std::function<void(const std::string&)>& ready, ServiceManager& manager,
                std::optional<Predecessor> predecessor, WritablePlace* writable) {
  MountWatch watch;  // before any thread: they inherit the blocked signals
  prepare_to_serve(options, predecessor.has_value());
  ServedMount mount(watch, std::move(opened), later, options, mountpoint, manager, std::move(predecessor), writable);
  const int exit_code = mount.serve(ready);
  watch.restore_signals();
  return exit_code;
}

}  // namespace pkgfs
