// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_service.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/system_limits.h"
#include "core/base/thread_annotations.h"
#include "core/base/unique_fd.h"
#include "daemon/cli/exit_code.h"
#include "daemon/mount/guardian.h"
#include "daemon/mount/lazy_mount.h"
#include "daemon/mount/manifest_follower.h"
#include "daemon/mount/mount_watch.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/observe/lazy_state.h"
#include "daemon/observe/metrics_server.h"
#include "daemon/observe/metrics_text.h"
#include "daemon/observe/mount_facts.h"
#include "daemon/observe/stats_json.h"
#include "daemon/packages/memory_budget.h"
#include "daemon/packages/own_source.h"
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

fuse::AdapterOptions adapter_options(const MountOptions& options, fuse::UsageCounter& usage,
                                     fuse::ContentPrefetcher* prefetcher, fuse::CpuLatency& cpu_latency,
                                     std::function<std::string()> stats) {
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
          .stats = std::move(stats)};
}

std::vector<std::string> ids_of(const LoadedPackages& packages) {
  std::vector<std::string> ids;
  for (const auto& [id, package] : packages) {
    ids.push_back(id.to_string());
  }
  return ids;
}

MountFacts mount_facts(const PackageTree& tree, std::string source, const std::string& mountpoint) {
  MountFacts facts{.package = std::move(source),
                   .packages = {},
                   .mountpoint = mountpoint,
                   .metrics = {},
                   .pid = ::getpid(),
                   .since = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())};
  facts.packages = ids_of(tree.packages);
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

/// What the kernel reads ahead in a file whose bytes may be at a server: one block of the container
/// (SparseFile::kBlock). More of it would be fetched although no program reads it.
constexpr std::uint32_t kLazyReadAhead = 64;
/// The kernel's own value.
constexpr std::uint32_t kUsualReadAhead = 128;

/// Sets the kernel's read-ahead of the mount. Where this process may not set it, reading is slower and all else works.
void set_read_ahead(const std::string& device, std::uint32_t kib) {
  if (kib > 0 && !device.empty()) {
    std::ofstream("/sys/class/bdi/" + device + "/read_ahead_kb") << kib;
  }
}

/// Starts the guardian of the mount on `device` (guardian.h), unless it runs already. Returns as Guardian::start.
std::string start_guardian(Guardian& guardian, const std::string& device) {
  if (guardian.ended_fd() >= 0) {
    return {};
  }
  const std::string minor = device.substr(device.find(':') + 1);
  return minor.empty() ? "another mount covers this one" : guardian.start(minor);
}

/// Lets `prefetcher` work if a guardian can be started for it.
void start_prefetching(fuse::Session& session, fuse::ContentPrefetcher& prefetcher, Guardian& guardian,
                       const std::string& device) {
  const std::string minor = device.substr(device.find(':') + 1);
  const std::string why = start_guardian(guardian, device);
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

void start_following(ManifestFollower& follower, const std::string& device) {
  unsigned major = 0;
  unsigned minor = 0;
  (void)std::sscanf(device.c_str(), "%u:%u", &major, &minor);  // NOLINT(cert-err34-c): of the kernel
  try {
    follower.start(makedev(major, minor));
  } catch (const std::system_error& error) {
    log::warn("changes of the manifest aren't taken over: {}", start_text(error.code().value()));
  }
}

/// Lets `notifier` tell the kernel of changes. Without a guardian it doesn't, as it may wait in the kernel.
void start_notifying(fuse::Session& session, fuse::ChangeNotifier& notifier, Guardian& guardian,
                     const std::string& device) {
  std::string why = start_guardian(guardian, device);
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

int serve_mount(OpenedTree opened, FollowedTree* followed, const MountOptions& options, const std::string& mountpoint,
                const std::function<void(const std::string&)>& ready, ServiceManager& manager) {
  MountWatch watch;  // before any thread: they inherit the blocked signals
  // A write to a client or to standard error that has gone is an error of that write, not the end of the mount.
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(concurrency-mt-unsafe): before any thread

  vfs::FileSystem& tree = *opened.tree.file_system;
  fuse::UsageCounter usage(tree);
  fuse::Statistics statistics;
  fuse::ContentPrefetcher prefetcher(tree, statistics, page_cache_ahead(control_group_limit()));
  fuse::CpuLatency cpu_latency(statistics);
  LazyMount lazy(opened.tree);
  fuse::ContentPrefetcher* const used_prefetcher =
      options.push && options.skip_open && tree.is_immutable() ? &prefetcher : nullptr;
  Mutex facts_mutex;  // for the packages, which change if the manifest is followed
  MountFacts facts = mount_facts(opened.tree, mount_source(opened, options.package), mountpoint);
  std::optional<MetricsServer> metrics;
  if (!options.metrics.empty()) {
    metrics.emplace(options.metrics, [&] {
      look_for_changes(tree);
      const MutexLock lock(facts_mutex);
      return metrics_text(facts, statistics.snapshot(), lazy_state(lazy.sources()));
    });
    facts.metrics = metrics->address();
  }
  const auto stats = [&] {
    look_for_changes(tree);
    const MutexLock lock(facts_mutex);
    return stats_json(facts, statistics.snapshot(), lazy_state(lazy.sources()));
  };
  fuse::Adapter adapter(tree, statistics, adapter_options(options, usage, used_prefetcher, cpu_latency, stats));
  const fuse::MountSettings settings = mount_settings(options, facts);
  std::optional<fuse::ChangeNotifier> notifier;
  if (tree.changes() != nullptr && options.live_timeout > 0) {
    notifier.emplace(tree, statistics);
  }
  UniqueFd covered;  // the directory below the mount
  std::optional<ManifestFollower> follower;
  if (followed != nullptr) {
    covered.reset(::open(mountpoint.c_str(), O_PATH | O_CLOEXEC));
    opened.root.reset();  // `followed` keeps what the tree needs
    opened.tree.packages.clear();
    opened.tree.commands.clear();
    follower.emplace(
        *followed,
        [&](const PackageTree& fresh) {
          refuse_own_source(fresh, covered.get(), "The mount point \"" + mountpoint + "\"");
        },
        [&] {
          const MutexLock lock(facts_mutex);
          facts.packages = ids_of(followed->packages());
        });
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
    const auto start_local = [&] {
      set_read_ahead(device, lazy.is_lazy() && options.read_ahead == 0 ? kUsualReadAhead : options.read_ahead);
      if (used_prefetcher != nullptr) {
        start_prefetching(session, *used_prefetcher, guardian, device);
      }
    };
    if (lazy.is_lazy()) {
      set_read_ahead(device, kLazyReadAhead);
      // For the thread that drops wrong pages (fuse/waiting_reads.h), which may wait in the kernel.
      if (const std::string why = start_guardian(guardian, device); !why.empty()) {
        log::debug("\"{}\" has no guardian: {}", mountpoint, why);
      }
      watch.call_when_readable(lazy.whole_fd(), [&] {
        log::info("\"{}\": all packages are complete", mountpoint);
        start_local();
      });
      lazy.begin();
    } else {
      start_local();
    }
    if (notifier) {
      start_notifying(session, *notifier, guardian, device);
    }
    if (follower) {
      start_following(*follower, device);
    }
    const int end = watch.wait_for_end(session, settings, manager, guardian);
    log::info("\"{}\" ends: {}", mountpoint, end == 0 ? "unmounted" : "a signal asked for it");
  } else {
    exit_code = to_exit_code(ErrorCode::kInterrupted);
  }
  manager.stopping();
  const bool stopped = session.stop(kStopLimit);
  if (!stopped) {
    log::warn("\"{}\": a request was still being answered after {} s; it fails", mountpoint, kStopLimit.count());
  }
  if (!(follower ? follower->stop(kStopLimit) && stopped : stopped)) {
    lazy.save_profiles();
    metrics.reset();
    std::_Exit(exit_code);  // the mount has ended, as was asked; only the disk of its package is late
  }
  watch.restore_signals();
  return exit_code;
}

}  // namespace pkgfs
