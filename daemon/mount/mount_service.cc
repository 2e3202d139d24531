// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_service.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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
#include "core/base/unique_fd.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/mount/guardian.h"
#include "daemon/mount/mount_table.h"
#include "daemon/observe/metrics_server.h"
#include "daemon/observe/metrics_text.h"
#include "daemon/observe/mount_facts.h"
#include "daemon/observe/stats_json.h"
#include "daemon/packages/own_source.h"
#include "fuse/adapter.h"
#include "fuse/content_prefetcher.h"
#include "fuse/cpu_latency.h"
#include "fuse/session.h"
#include "fuse/usage.h"

namespace pkgfs {
namespace {

constexpr auto kProbeLimit = std::chrono::seconds(1);
constexpr auto kReadyLimit = std::chrono::seconds(10);
/// How long a request that is being answered may take once we are asked to stop.
constexpr auto kStopLimit = std::chrono::seconds(5);
/// More threads than processors: some wait for a disk.
constexpr unsigned kMinThreads = 4;
constexpr unsigned kMaxThreads = 16;

/// Debug messages on or off.
constexpr int kToggleSignal = SIGUSR2;

sigset_t handled_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, kToggleSignal}) {
    sigaddset(&signals, signal);
  }
  return signals;
}

fuse::CpuLatency::Use cpu_latency_use(std::optional<bool> asked) {
  using enum fuse::CpuLatency::Use;
  return !asked ? kAuto : *asked ? kOn : kOff;
}

fuse::AdapterOptions adapter_options(const MountOptions& options, fuse::UsageCounter& usage,
                                     fuse::ContentPrefetcher* prefetcher, fuse::CpuLatency& cpu_latency,
                                     const MountFacts& facts, const fuse::Statistics& statistics) {
  return {.uid = options.uid.value_or(::geteuid()),
          .gid = options.gid.value_or(::getegid()),
          .file_mask = options.fmask,
          .directory_mask = options.dmask,
          .live_timeout = options.live_timeout,
          .skip_open = options.skip_open,
          .passthrough = options.passthrough,
          .prefetcher = prefetcher,
          .cpu_latency = &cpu_latency,
          .usage = [&usage] { return usage.get(); },
          .stats = [&] { return stats_json(facts, statistics.snapshot()); }};
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

/// What `wait_for` answers when its last descriptor is readable.
constexpr int kOther = -1;

/// Waits until a signal asks to stop (its number) or `fd` is readable (0) or `other`, if there is one (kOther); nothing
/// if none of it has happened after `limit` (negative: waits for ever).
std::optional<int> wait_for(int signal_fd, int fd, std::chrono::milliseconds limit, int other = -1) {
  std::array<pollfd, 3> waiting{{{.fd = signal_fd, .events = POLLIN, .revents = 0},
                                 {.fd = fd, .events = POLLIN, .revents = 0},
                                 {.fd = other, .events = POLLIN, .revents = 0}}};
  while (true) {
    const int count = ::poll(waiting.data(), waiting.size(), static_cast<int>(limit.count()));
    if (count == 0) {
      return std::nullopt;
    }
    if (count < 0 && errno != EINTR) {
      throw system_error("Unable to wait for the end of the mount", errno);
    }
    if (count < 0) {
      continue;
    }
    if ((waiting[0].revents & POLLIN) != 0) {
      signalfd_siginfo info{};
      if (::read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == kToggleSignal) {
          log::warn("the log level is \"{}\" now", toggle_debug());
          continue;
        }
        return static_cast<int>(info.ssi_signo);
      }
    }
    if (waiting[1].revents != 0) {
      return 0;
    }
    if (waiting[2].revents != 0) {
      return kOther;
    }
  }
}

/// False if a signal asked to stop before the mount answered. Throws Error if it doesn't in time.
bool wait_until_ready(fuse::Session& session, int signal_fd, const std::string& mountpoint) {
  const std::optional<int> woken = wait_for(signal_fd, session.device_fd(), kReadyLimit);
  if (woken && *woken != 0) {
    return false;
  }
  if (!woken || !session.answer_first()) {
    throw Error(ErrorCode::kMount, "The kernel didn't begin to talk to the mount at \"" + mountpoint + "\"");
  }
  return true;
}

/// Our mount, unless another one lies above it.
std::optional<MountEntry> find_own_mount(const fuse::MountSettings& settings) {
  std::optional<MountEntry> top = find_mount(settings.mountpoint);
  return top && top->type == kMountType && top->source == settings.source ? top : std::nullopt;
}

/// Has the kernel read further ahead than it does by itself. Where that isn't allowed, nothing is lost but some speed.
void set_read_ahead(const std::string& device, std::uint32_t kib) {
  if (kib > 0 && !device.empty()) {
    std::ofstream("/sys/class/bdi/" + device + "/read_ahead_kb") << kib;
  }
}

/// Lets `prefetcher` work where somebody can see to it that a kill does no harm.
void start_prefetching(fuse::Session& session, fuse::ContentPrefetcher& prefetcher, Guardian& guardian,
                       const std::string& device) {
  const std::string minor = device.substr(device.find(':') + 1);
  const std::string why = minor.empty() ? "the mount can't be seen" : guardian.start(minor);
  if (!why.empty()) {
    log::info("no files are read ahead (--push): {}", why);
    return;
  }
  try {
    session.start_prefetching(prefetcher, static_cast<unsigned>(std::stoul(minor)));
  } catch (const std::system_error& error) {
    log::warn("no files are read ahead (--push): no thread for it: {}", error.what());
  }
}

/// Whether our mount answers whoever comes by its path. Nobody does where another one lies above it.
bool answers(const fuse::MountSettings& settings, std::chrono::milliseconds limit) {
  return !find_own_mount(settings) || probe_mount(settings.mountpoint, limit) == MountState::kLive;
}

/// Waits for the end as `wait_for` does, and reassures the manager's watchdog as long as the mount answers.
int watch(fuse::Session& session, int signal_fd, const fuse::MountSettings& settings, ServiceManager& manager,
          const Guardian& guardian) {
  int guardian_ended = guardian.ended_fd();
  while (true) {
    const auto interval = manager.watchdog_interval();
    const auto end =
        wait_for(signal_fd, session.ended_fd(), interval.value_or(std::chrono::milliseconds(-1)), guardian_ended);
    if (end == kOther) {
      log::warn("\"{}\": the guardian has ended; no files are read ahead any more", settings.mountpoint);
      guardian_ended = -1;
      if (!session.stop_prefetching(kStopLimit)) {
        log::warn("\"{}\": a file is still being read ahead", settings.mountpoint);
      }
      continue;
    }
    if (end) {
      return *end;
    }
    if (answers(settings, *interval / 2)) {
      manager.alive();
    } else {
      log::warn("\"{}\" doesn't answer", settings.mountpoint);
    }
  }
}

/// Clears the way: unmounts what is dead and ours. What else is mounted there can be mounted over, as anywhere, but for
/// FUSE mounts that don't answer.
void clear_mountpoint(const std::string& given, const std::string& path) {
  while (const std::optional<MountEntry> mounted = find_mount(path)) {
    if (!mounted->type.starts_with("fuse")) {
      return;
    }
    const bool ours = mounted->type == kMountType;
    const MountState state = probe_mount(path, kProbeLimit);
    if (state == MountState::kStuck) {
      throw Error(ErrorCode::kBusy,
                  {"\"" + mounted->source + "\" is already mounted at \"" + given + "\" and doesn't answer",
                   "unmount it first: " + std::string(ours ? "pkgfs unmount --lazy " : "umount -l ") + path});
    }
    if (ours && state == MountState::kLive) {
      throw Error(ErrorCode::kBusy, {"\"" + mounted->source + "\" is already mounted at \"" + given + "\"",
                                     "unmount it first: pkgfs unmount " + path});
    }
    if (state == MountState::kLive) {
      return;
    }
    if (!ours) {
      throw Error(ErrorCode::kMount, {"The mountpoint \"" + given + "\" is a dead mount of " + mounted->type + " (" +
                                          mounted->source + "), which isn't ours",
                                      "unmount it first: umount -l " + path});
    }
    log::warn("cleared a dead mount of \"{}\" at \"{}\"", mounted->source, given);
    unmount(path, true);
  }
}

/// Of several that mount at one place at the same time, one may. Others would mount over it: they all have seen a free
/// mountpoint. Claimed as long as the descriptor is open; a directory that can't be read isn't claimed.
UniqueFd claim_mountpoint(const std::string& given, const std::string& path) {
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory && ::flock(directory.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    throw Error(ErrorCode::kBusy, "Something else is just being mounted at \"" + given + "\"");
  }
  clear_mountpoint(given, path);
  return directory;
}

/// Whether a directory is the kernel's own: nobody expects a mount there, and some of them can't be looked up twice.
bool is_of_the_kernel(int directory) {
  constexpr std::array kMagics{PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC};
  struct statfs status{};
  return ::fstatfs(directory, &status) == 0 && std::ranges::find(kMagics, status.f_type) != kMagics.end();
}

std::string name_of_mountpoint(const std::string& given) { return "The mountpoint \"" + given + "\""; }

}  // namespace

std::string mount_source(const OpenedTree& opened, const std::string& package) {
  if (opened.tree.id.named() != nullptr) {
    return opened.tree.id.to_string();
  }
  // A relative path means nothing to whoever looks at the mount later.
  std::error_code not_a_path;
  const std::filesystem::path path = std::filesystem::canonical(package, not_a_path);
  return not_a_path ? package : path.string();
}

std::string prepare_mountpoint(const std::string& given) {
  const std::string what = name_of_mountpoint(given);
  std::string path = resolve_mountpoint(given);
  if (path == "/") {
    throw Error(ErrorCode::kUsage, what + " can't be used: everything would be hidden");
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
      unmount(mountpoint, true);
    }
  } catch (const std::exception& error) {
    log::debug("\"{}\" stays mounted: {}", mountpoint, error.what());
  }
}

int serve_mount(OpenedTree opened, const MountOptions& options, const std::string& mountpoint,
                const std::function<void(const std::string&)>& ready, ServiceManager& manager) {
  const sigset_t signals = handled_signals();
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, &signals, &before);  // threads inherit it: the signals come through the descriptor only
  const UniqueFd signal_fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  if (!signal_fd) {
    throw system_error("Unable to wait for signals", errno);
  }

  // Whoever reads what we write may be gone: an error of that write, not the end of the mount.
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(concurrency-mt-unsafe): before any thread

  fuse::UsageCounter usage(*opened.tree.file_system);
  vfs::FileSystem& tree = *opened.tree.file_system;
  fuse::Statistics statistics;
  fuse::ContentPrefetcher prefetcher(tree, statistics);
  fuse::CpuLatency cpu_latency(statistics);
  fuse::ContentPrefetcher* const used_prefetcher =
      options.push && options.skip_open && tree.is_immutable() ? &prefetcher : nullptr;
  MountFacts facts = mount_facts(opened.tree, mount_source(opened, options.package), mountpoint);
  std::optional<MetricsServer> metrics;
  if (!options.metrics.empty()) {
    metrics.emplace(options.metrics, [&] { return metrics_text(facts, statistics.snapshot()); });
    facts.metrics = metrics->address();
  }
  fuse::Adapter adapter(tree, statistics,
                        adapter_options(options, usage, used_prefetcher, cpu_latency, facts, statistics));
  fuse::MountSettings settings{.mountpoint = mountpoint,
                               .source = facts.package,
                               .allow_other = options.allow_other.value_or(::geteuid() == 0),
                               .auto_unmount = options.auto_unmount,
                               .debug = options.debug,
                               .io_uring = options.io_uring,
                               .extra = {}};
  if (options.noexec) {
    settings.extra.emplace_back("noexec");
  }
  Guardian guardian;  // until the session is gone
  fuse::Session session(adapter, settings);
  UniqueFd claim = claim_mountpoint(options.mountpoint, mountpoint);
  session.mount();
  int exit_code = kExitOk;
  if (wait_until_ready(session, signal_fd.get(), mountpoint)) {
    const std::optional<MountEntry> own = find_own_mount(settings);  // while nobody else can mount here
    claim.reset();
    const unsigned threads = std::clamp(2 * std::thread::hardware_concurrency(), kMinThreads, kMaxThreads);
    session.start({.threads = std::max(threads, options.threads + kMinThreads),
                   .on_duty = options.threads,
                   .poll = options.poll,
                   .others_busy = used_prefetcher == nullptr ? nullptr : &used_prefetcher->is_busy()});
    if (metrics) {
      metrics->start();
    }
    if (const std::string why = cpu_latency.start(cpu_latency_use(options.cpu_latency)); !why.empty()) {
      log::write(options.cpu_latency == true ? log::Level::kWarn : log::Level::kDebug,
                 "idle CPUs may sleep (--cpu-latency): " + why);
    }
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
    const int end = watch(session, signal_fd.get(), settings, manager, guardian);
    log::info("\"{}\" ends: {}", mountpoint, end == 0 ? "unmounted" : "asked to by a signal");
  } else {
    exit_code = to_exit_code(ErrorCode::kInterrupted);
  }
  manager.stopping();
  if (!session.stop(kStopLimit)) {
    log::warn("\"{}\": a request was still being answered after {} s; it gets an error", mountpoint,
              kStopLimit.count());
    metrics.reset();
    std::_Exit(to_exit_code(ErrorCode::kInternal));
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return exit_code;
}

}  // namespace pkgfs
