// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_service.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "core/base/function_ref.h"
#include "core/base/log.h"
#include "core/base/thread_annotations.h"
#include "core/base/unique_fd.h"
#include "daemon/cli/exit_code.h"
#include "daemon/mount/crash_reports.h"
#include "daemon/mount/keeping.h"
#include "daemon/mount/lazy_mount.h"
#include "daemon/mount/manifest_follower.h"
#include "daemon/mount/mount_settings.h"
#include "daemon/mount/mount_threads.h"
#include "daemon/mount/mount_watch.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/successor.h"
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

/// Finds changes of the containers, so that what is told of the mount next says so.
void look_for_changes(vfs::FileSystem& tree) { (void)tree.is_intact(tree.root()); }

/// How long a request that is being answered may take once the daemon was asked to stop. Most disks answer sooner; if
/// one doesn't answer at all, no program should wait longer.
constexpr auto kStopLimit = std::chrono::seconds(1);

/// Calls `start`. A daemon that goes on with a mount does so without what it starts if it throws Error.
void start_or_go_on(bool goes_on, FunctionRef<void()> start) {
  try {
    start();
  } catch (const Error& error) {
    if (!goes_on) {
      throw;
    }
    log::warn("the mount goes on without this: {}", error);
  }
}

/// The daemon before may hold the address for a moment, until the kernel has ended all its threads.
void open_metrics_again(FunctionRef<void()> open) {
  constexpr int kMostTries = 20;
  constexpr auto kPause = std::chrono::milliseconds(25);
  for (int tries = 1;; ++tries) {
    try {
      open();
      return;
    } catch (const Error& error) {
      if (tries == kMostTries) {
        log::warn("no metrics are served any more: {}", error);
        return;
      }
    }
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace

int serve_mount(OpenedTree opened, FollowedTree* followed, const MountOptions& options, const std::string& mountpoint,
                const std::function<void(const std::string&)>& ready, ServiceManager& manager,
                std::optional<Predecessor> predecessor) {
  MountWatch watch;  // before any thread: they inherit the blocked signals
  // A write to a client or to standard error that has gone is an error of that write, not the end of the mount.
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(concurrency-mt-unsafe): before any thread
  std::signal(SIGXFSZ, SIG_IGN);  // NOLINT(concurrency-mt-unsafe): a limit of file sizes is an error, too

  if (!options.crash_dir.empty()) {
    start_or_go_on(predecessor.has_value(), [&] { CrashReports::write_stacks_to(options.crash_dir); });
  }

  vfs::FileSystem& tree = *opened.tree.file_system;
  Keeping keeping = keeping_of(options, opened, followed, manager);
  fuse::UsageCounter usage(tree);
  fuse::SharedState state = state_of(predecessor, keeping);
  fuse::Statistics statistics(state);
  std::unique_ptr<fuse::RequestStore> requests;  // where the kernel doesn't send them again
  fuse::ContentPrefetcher prefetcher(tree, statistics, page_cache_ahead(control_group_limit()));
  fuse::CpuLatency cpu_latency(statistics);
  LazyMount lazy(opened.tree);
  fuse::ContentPrefetcher* const used_prefetcher =
      options.push && options.skip_open && tree.is_immutable() ? &prefetcher : nullptr;
  std::optional<Keeper> keeper;
  Mutex facts_mutex;  // for the packages, which change if the manifest is followed
  MountFacts facts = mount_facts(
      opened.tree, predecessor ? predecessor->record.source : mount_source(opened, options.package), mountpoint);
  if (predecessor) {
    facts.since = predecessor->record.since;
    facts.generation = predecessor->record.generation;
    facts.last_end = predecessor->record.last_end;
  }
  const auto now_facts = [&] {
    look_for_changes(tree);
    const MutexLock lock(facts_mutex);
    MountFacts copy = facts;
    copy.keeper = keeper ? keeper->id() : 0;
    return copy;
  };
  const auto metrics_now = [&] { return metrics_text(now_facts(), statistics.snapshot(), lazy_state(lazy.sources())); };
  std::optional<MetricsServer> metrics;
  const auto open_metrics = [&] {
    metrics.emplace(options.metrics, metrics_now);
    const MutexLock lock(facts_mutex);
    facts.metrics = metrics->address();
  };
  if (!options.metrics.empty() && !predecessor) {
    open_metrics();
  }
  const auto stats = [&] { return stats_json(now_facts(), statistics.snapshot(), lazy_state(lazy.sources())); };
  fuse::Adapter adapter(
      tree, statistics,
      adapter_options(options, usage, used_prefetcher, cpu_latency, keeping != Keeping::kNothing, stats));
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
  std::optional<Guards> guards;  // outlive the session: they guard the connection
  fuse::Session session(adapter, settings);
  std::optional<CrashReports> early_crashes;
  UniqueFd claim;
  if (!predecessor) {
    claim = claim_mountpoint(options.mountpoint, mountpoint);
    session.mount();
  }
  int exit_code = kExitOk;
  if (predecessor || watch.wait_until_ready(session, mountpoint)) {
    if (predecessor) {
      guards.emplace(predecessor->record.device);
      const bool resends = !must_keep_requests(predecessor->record.handshake);
      if (!resends) {
        requests = requests_of(*predecessor);
      }
      take_over(session, *predecessor, statistics, resends);
      if (predecessor->control) {
        early_crashes.emplace();  // the keeper of the daemon before is told of a crash until this daemon has one
        early_crashes->start(UniqueFd(::fcntl(predecessor->control.get(), F_DUPFD_CLOEXEC, 0)));
      }
    } else {
      const std::optional<MountEntry> own = find_own_mount(settings);  // the claim keeps others from mounting here
      guards.emplace(own ? own->device : std::string());
    }
    claim.reset();
    if (!predecessor && keeping != Keeping::kNothing && must_keep_requests(session.handshake())) {
      try {
        requests = fuse::RequestStore::create();
      } catch (const Error& error) {
        log::warn("if this daemon is killed, no other one goes on with its mount: {}", error);
        keeping = Keeping::kNothing;
      }
    }
    const KeptParts parts{.session = &session, .opened = &opened, .state = &state, .requests = requests.get()};
    if (keeping == Keeping::kKeeper) {
      make_keeper(keeper, *guards, record_of(options, facts, predecessor), parts);
    }
    fuse::ServerOptions servers = server_options(options, used_prefetcher);
    servers.poisoned = poisoned_requests(state, predecessor, tree);
    servers.keep_requests = requests.get();
    session.start(servers);
    if (predecessor) {
      begin_serving(*predecessor, statistics);
    }
    early_crashes.reset();
    if (keeper) {
      start_keeper(*keeper, *guards, mountpoint);
    }
    if (predecessor) {
      tell_keeper(*predecessor);  // at once: if this daemon is killed now, two keepers would act
      if (!options.metrics.empty()) {
        open_metrics_again(open_metrics);
      }
    }
    if (metrics) {
      metrics->start();
    }
    start_cpu_latency(cpu_latency, options.cpu_latency);
    const std::string message = "\"" + settings.source + "\" is mounted at \"" + mountpoint + "\"";
    if (!predecessor) {
      log::info("{}", message);
      ready(message);
    }
    if (metrics) {
      log::info("metrics are served at {}", metrics->address());
    }
    manager.ready(settings.source + " at " + mountpoint);
    const auto store = [&] {
      MountRecord record = record_of(options, facts, predecessor);
      record.device = guards->device();
      store_mount(manager, std::move(record), parts);
    };
    if (keeping == Keeping::kServiceManager) {
      CrashReports::note_crashes();
      store();
    }
    if (predecessor && predecessor->process) {
      // A thread of it that only ends now may have taken a request after the kernel was asked to send all again.
      watch.call_when_readable(predecessor->process.get(), [&] { (void)session.resend(); });
    }
    const auto start_local = [&] {
      set_read_ahead(guards->device(),
                     lazy.is_lazy() && options.read_ahead == 0 ? kUsualReadAhead : options.read_ahead);
      if (used_prefetcher != nullptr) {
        start_prefetching(session, *used_prefetcher, *guards);
      }
    };
    if (lazy.is_lazy()) {
      set_read_ahead(guards->device(), kLazyReadAhead);
      // For the thread that drops wrong pages (fuse/waiting_reads.h), which may wait in the kernel.
      if (const std::string why = guards->need(); !why.empty()) {
        log::debug("\"{}\" has no guardian: {}", mountpoint, why);
      }
      watch.call_when_readable(lazy.whole_fd(), [&] {
        log::info("\"{}\": all packages are complete", mountpoint);
        if (keeper && keeper->id() > 0) {
          (void)guards->replace();  // with descriptors of the complete containers
        } else if (keeping == Keeping::kServiceManager) {
          store();
        }
        start_local();
      });
      lazy.begin();
    } else {
      start_local();
    }
    if (notifier) {
      start_notifying(session, *notifier, *guards);
    }
    if (follower) {
      start_following(*follower, guards->device());
    }
    const int end = watch.wait_for_end(session, settings, manager, *guards);
    log::info("\"{}\" ends: {}", mountpoint, end == 0 ? "unmounted" : "a signal asked for it");
  } else {
    exit_code = to_exit_code(ErrorCode::kInterrupted);
  }
  manager.stopping();
  if (keeper) {
    keeper->let_go();
  } else if (keeping == Keeping::kServiceManager) {
    manager.forget_stored();
  }
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
