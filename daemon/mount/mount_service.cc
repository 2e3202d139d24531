// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_service.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>
#include <thread>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/system_limits.h"
#include "core/base/unique_fd.h"
#include "daemon/cli/exit_code.h"
#include "daemon/mount/guardian.h"
#include "daemon/mount/mount_watch.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/observe/metrics_server.h"
#include "daemon/observe/metrics_text.h"
#include "daemon/observe/mount_facts.h"
#include "daemon/observe/stats_json.h"
#include "daemon/packages/memory_budget.h"
#include "fuse/adapter.h"
#include "fuse/change_notifier.h"
#include "fuse/content_prefetcher.h"
#include "fuse/cpu_latency.h"
#include "fuse/session.h"
#include "fuse/usage.h"

namespace pkgfs {
namespace {

/// How long a request that is being answered may take once the daemon was asked to stop. Most disks answer sooner; if
/// one doesn't answer at all, no program should wait longer.
constexpr auto kStopLimit = std::chrono::seconds(1);
/// There are more threads than CPUs, because some of them wait for a disk.
constexpr unsigned kMinThreads = 4;
constexpr unsigned kMaxThreads = 16;

fuse::CpuLatency::Use cpu_latency_use(std::optional<bool> asked) {
  using enum fuse::CpuLatency::Use;
  return !asked ? kAuto : *asked ? kOn : kOff;
}

/// Finds changes of the containers, so that what is told of the mount next says so.
void look_for_changes(vfs::FileSystem& tree) { (void)tree.is_intact(tree.root()); }

fuse::AdapterOptions adapter_options(const MountOptions& options, vfs::FileSystem& tree, fuse::UsageCounter& usage,
                                     fuse::ContentPrefetcher* prefetcher, fuse::CpuLatency& cpu_latency,
                                     const MountFacts& facts, const fuse::Statistics& statistics) {
  return {.uid = options.uid.value_or(::geteuid()),
          .gid = options.gid.value_or(::getegid()),
          .file_mask = options.fmask,
          // The kernel answers others from its caches without asking: their permissions keep them out.
          .directory_mask = static_cast<std::uint16_t>(options.dmask | (options.allow_root ? 0077 : 0)),
          .live_timeout = options.live_timeout,
          .skip_open = options.skip_open,
          .passthrough = options.passthrough,
          .prefetcher = prefetcher,
          .cpu_latency = &cpu_latency,
          .usage = [&usage] { return usage.get(); },
          .stats =
              [&] {
                look_for_changes(tree);
                return stats_json(facts, statistics.snapshot());
              }};
}

MountFacts mount_facts(const PackageTree& tree, std::string source, const std::string& mountpoint) {
  MountFacts facts{.package = std::move(source),
                   .packages = {},
                   .mountpoint = mountpoint,
                   .metrics = {},
                   .pid = ::getpid(),
                   .since = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())};
  for (const PackageId& id : tree.package_ids) {
    facts.packages.push_back(id.to_string());
  }
  return facts;
}

fuse::MountSettings mount_settings(const MountOptions& options, const MountFacts& facts) {
  fuse::MountSettings settings{.mountpoint = facts.mountpoint,
                               .source = facts.package,
                               .allow_other = options.allow_other.value_or(::geteuid() == 0),
                               .auto_unmount = options.auto_unmount,
                               .debug = options.debug,
                               .io_uring = options.io_uring,
                               .nosymfollow = options.nosymfollow,
                               .security = options.security,
                               .extra = {}};
  if (options.noexec) {
    settings.extra.emplace_back("noexec");
  }
  if (options.allow_root) {
    settings.extra.emplace_back("allow_root");
  }
  return settings;
}

fuse::ServerOptions server_options(const MountOptions& options, const fuse::ContentPrefetcher* prefetcher) {
  const unsigned threads = std::clamp(2 * std::thread::hardware_concurrency(), kMinThreads, kMaxThreads);
  return {.threads = std::max(threads, options.threads + kMinThreads),
          .on_duty = options.threads,
          .poll = options.poll,
          .others_busy = prefetcher == nullptr ? nullptr : &prefetcher->is_busy()};
}

/// Sets the kernel's read-ahead of the mount. Where this process may not set it, reading is slower and all else works.
void set_read_ahead(const std::string& device, std::uint32_t kib) {
  if (kib > 0 && !device.empty()) {
    std::ofstream("/sys/class/bdi/" + device + "/read_ahead_kb") << kib;
  }
}

/// Lets `prefetcher` work if a guardian can be started for it (guardian.h).
void start_prefetching(fuse::Session& session, fuse::ContentPrefetcher& prefetcher, Guardian& guardian,
                       const std::string& device) {
  const std::string minor = device.substr(device.find(':') + 1);
  const std::string why = minor.empty() ? "another mount covers this one" : guardian.start(minor);
  if (!why.empty()) {
    log::info("files are not prefetched (--push): {}", why);
    return;
  }
  try {
    session.start_prefetching(prefetcher, static_cast<unsigned>(std::stoul(minor)));
  } catch (const std::system_error& error) {
    log::warn("files are not prefetched (--push): no thread can be started: {}", start_text(error.code().value()));
  }
}

/// Lets `notifier` tell the kernel of changes. Without a guardian it doesn't, as it may wait in the kernel.
void start_notifying(fuse::Session& session, fuse::ChangeNotifier& notifier, Guardian& guardian,
                     const std::string& device) {
  const std::string minor = device.substr(device.find(':') + 1);
  std::string why = minor.empty() ? "another mount covers this one" : guardian.start(minor);
  if (why.empty()) {
    try {
      session.start_notifying(notifier);
      return;
    } catch (const std::system_error& error) {
      const int errnum = error.code().value();
      why = errnum != EMFILE   ? start_text(errnum)
            : can_open_more(1) ? "this user has too many inotify instances; raise fs.inotify.max_user_instances"
                               : errno_text(errnum);
    }
  }
  log::warn("changes of live directories show only after --live-timeout: {}", why);
}

void start_cpu_latency(fuse::CpuLatency& cpu_latency, std::optional<bool> asked) {
  if (const std::string why = cpu_latency.start(cpu_latency_use(asked)); !why.empty()) {
    log::write(asked == true ? log::Level::kWarn : log::Level::kDebug, "idle CPUs may sleep (--cpu-latency): " + why);
  }
}

}  // namespace

std::string mount_source(const OpenedTree& opened, const std::string& package) {
  if (opened.tree.id.named() != nullptr) {
    return opened.tree.id.to_string();
  }
  // The working directory, to which a relative path belongs, is not visible at the mount.
  std::error_code not_a_path;
  const std::filesystem::path path = std::filesystem::canonical(package, not_a_path);
  return not_a_path ? package : path.string();
}

int serve_mount(OpenedTree opened, const MountOptions& options, const std::string& mountpoint,
                const std::function<void(const std::string&)>& ready, ServiceManager& manager) {
  MountWatch watch;  // before any thread: they inherit the blocked signals
  // A write to a client or to standard error that has gone is an error of that write, not the end of the mount.
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(concurrency-mt-unsafe): before any thread

  vfs::FileSystem& tree = *opened.tree.file_system;
  fuse::UsageCounter usage(tree);
  fuse::Statistics statistics;
  fuse::ContentPrefetcher prefetcher(tree, statistics, page_cache_ahead(control_group_limit()));
  fuse::CpuLatency cpu_latency(statistics);
  fuse::ContentPrefetcher* const used_prefetcher =
      options.push && options.skip_open && tree.is_immutable() ? &prefetcher : nullptr;
  MountFacts facts = mount_facts(opened.tree, mount_source(opened, options.package), mountpoint);
  std::optional<MetricsServer> metrics;
  if (!options.metrics.empty()) {
    metrics.emplace(options.metrics, [&] {
      look_for_changes(tree);
      return metrics_text(facts, statistics.snapshot());
    });
    facts.metrics = metrics->address();
  }
  fuse::Adapter adapter(tree, statistics,
                        adapter_options(options, tree, usage, used_prefetcher, cpu_latency, facts, statistics));
  const fuse::MountSettings settings = mount_settings(options, facts);
  std::optional<fuse::ChangeNotifier> notifier;
  if (tree.changes() != nullptr && options.live_timeout > 0) {
    notifier.emplace(tree, statistics);
  }
  Guardian guardian;  // outlives the session: it guards the connection
  fuse::Session session(adapter, settings);
  UniqueFd claim = claim_mountpoint(options.mountpoint, mountpoint);
  session.mount();
  int exit_code = kExitOk;
  if (watch.wait_until_ready(session, mountpoint)) {
    const std::optional<MountEntry> own = find_own_mount(settings);  // while the claim keeps others from mounting here
    claim.reset();
    session.start(server_options(options, used_prefetcher));
    if (metrics) {
      metrics->start();
    }
    start_cpu_latency(cpu_latency, options.cpu_latency);
    const std::string message = "\"" + settings.source + "\" is mounted at \"" + mountpoint + "\"";
    log::info("{}", message);
    ready(message);
    if (metrics) {
      log::info("metrics are served at {}", metrics->address());
    }
    manager.ready(settings.source + " at " + mountpoint);
    const std::string device = own ? own->device : std::string();
    set_read_ahead(device, options.read_ahead);
    if (used_prefetcher != nullptr) {
      start_prefetching(session, *used_prefetcher, guardian, device);
    }
    if (notifier) {
      start_notifying(session, *notifier, guardian, device);
    }
    const int end = watch.wait_for_end(session, settings, manager, guardian);
    log::info("\"{}\" ends: {}", mountpoint, end == 0 ? "unmounted" : "a signal asked for it");
  } else {
    exit_code = to_exit_code(ErrorCode::kInterrupted);
  }
  manager.stopping();
  if (!session.stop(kStopLimit)) {
    log::warn("\"{}\": a request was still being answered after {} s; it fails", mountpoint, kStopLimit.count());
    metrics.reset();
    std::_Exit(exit_code);  // the mount has ended, as was asked; only the disk of its package is late
  }
  watch.restore_signals();
  return exit_code;
}

}  // namespace pkgfs
