// SPDX-License-Identifier: MIT
#include "daemon/mount_service.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/unique_fd.h"
#include "daemon/exit_code.h"
#include "daemon/mount_table.h"
#include "fuse/adapter.h"
#include "fuse/session.h"

namespace pkgfs {
namespace {

constexpr auto kProbeLimit = std::chrono::seconds(2);
constexpr auto kReadyLimit = std::chrono::seconds(10);
/// How long a request that is being answered may take once we are asked to stop.
constexpr auto kStopLimit = std::chrono::seconds(5);
/// More threads than processors: some wait for a disk.
constexpr unsigned kMinThreads = 4;
constexpr unsigned kMaxThreads = 16;

sigset_t stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    sigaddset(&signals, signal);
  }
  return signals;
}

/// What df shows: the id, or the file where the id would be a hash that nobody knows yet.
std::string mount_source(const OpenedTree& opened, const MountOptions& options) {
  return opened.tree.id.named() != nullptr ? opened.tree.id.to_string() : options.package;
}

fuse::AdapterOptions adapter_options(const MountOptions& options, vfs::FileSystem& fs) {
  return {.uid = options.uid.value_or(::geteuid()),
          .gid = options.gid.value_or(::getegid()),
          .file_mask = options.fmask,
          .directory_mask = options.dmask,
          .live_timeout = options.live_timeout,
          .usage = [&fs] {
            const Footprint size = footprint(fs);
            return fuse::Usage{size.bytes, size.inodes};
          }};
}

/// Waits until a signal asks to stop (its number) or all threads of the session have ended (0).
int wait_for_end(int signal_fd, int ended_fd) {
  std::array<pollfd, 2> waiting{
      {{.fd = signal_fd, .events = POLLIN, .revents = 0}, {.fd = ended_fd, .events = POLLIN, .revents = 0}}};
  while (true) {
    if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) {
      throw system_error("Unable to wait for the end of the mount", errno);
    }
    if ((waiting[0].revents & POLLIN) != 0) {
      signalfd_siginfo info{};
      if (::read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
        return static_cast<int>(info.ssi_signo);
      }
    }
    if ((waiting[1].revents & POLLIN) != 0) {
      return 0;
    }
  }
}

}  // namespace

std::string prepare_mountpoint(const std::string& given) {
  std::string path;
  try {
    path = resolve_mountpoint(given);
  } catch (Error& error) {
    throw error.context("The mountpoint \"" + given + "\" can't be used");
  }
  while (const std::optional<MountEntry> mounted = find_mount(path)) {
    if (!mounted->type.starts_with("fuse")) {
      break;  // what else is mounted there can be mounted over, as anywhere
    }
    const MountState state = probe_mount(path, kProbeLimit);
    if (mounted->type != kMountType) {
      if (state != MountState::kDead) {
        break;
      }
      throw Error(ErrorCode::kMount, {"The mountpoint \"" + given + "\" is a dead mount of " + mounted->type + " (" +
                                          mounted->source + "), which isn't ours",
                                      "unmount it first: umount -l " + path});
    }
    if (state != MountState::kDead) {
      throw Error(ErrorCode::kBusy, {"\"" + mounted->source + "\" is already mounted at \"" + given + "\"" +
                                         (state == MountState::kStuck ? " and doesn't answer" : ""),
                                     "unmount it first: pkgfs unmount " + path});
    }
    log::warn("cleared a dead mount of \"{}\" at \"{}\"", mounted->source, given);
    unmount(path, true);
  }
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) {
    throw system_error("The mountpoint \"" + given + "\" can't be used", errno);
  }
  if (!S_ISDIR(status.st_mode)) {
    throw Error(ErrorCode::kUsage, "The mountpoint \"" + given + "\" is not a directory");
  }
  return path;
}

int serve_mount(OpenedTree opened, const MountOptions& options, const std::string& mountpoint,
                const std::function<void()>& ready) {
  const sigset_t signals = stop_signals();
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, &signals, &before);  // threads inherit it: the signals come through the descriptor only
  const UniqueFd signal_fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  if (!signal_fd) {
    throw system_error("Unable to wait for signals", errno);
  }

  // Whoever reads what we write may be gone: an error of that write, not the end of the mount.
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(concurrency-mt-unsafe): before any thread

  fuse::Adapter adapter(*opened.tree.file_system, adapter_options(options, *opened.tree.file_system));
  fuse::MountSettings settings{.mountpoint = mountpoint,
                               .source = mount_source(opened, options),
                               .allow_other = options.allow_other.value_or(::geteuid() == 0),
                               .auto_unmount = options.auto_unmount,
                               .debug = options.debug,
                               .extra = {}};
  if (options.noexec) {
    settings.extra.emplace_back("noexec");
  }
  fuse::Session session(adapter, settings);
  session.mount();
  session.start(std::clamp(2 * std::thread::hardware_concurrency(), kMinThreads, kMaxThreads));
  if (!session.wait_ready(kReadyLimit)) {
    throw Error(ErrorCode::kMount, "The kernel didn't begin to talk to the mount at \"" + mountpoint + "\"");
  }
  log::info("\"{}\" is mounted at \"{}\"", settings.source, mountpoint);
  ready();

  const int signal = wait_for_end(signal_fd.get(), session.ended_fd());
  log::info("\"{}\" ends: {}", mountpoint, signal == 0 ? "unmounted" : "asked to by a signal");
  if (!session.stop(kStopLimit)) {
    log::warn("\"{}\": a request was still being answered after {} s; it gets an error", mountpoint,
              kStopLimit.count());
    std::_Exit(to_exit_code(ErrorCode::kInternal));
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return kExitOk;
}

}  // namespace pkgfs
