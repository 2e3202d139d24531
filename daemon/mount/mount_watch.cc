// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_watch.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <optional>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/cli/logging.h"
#include "daemon/mount/mount_probe.h"

namespace pkgfs {
namespace {

constexpr auto kReadyLimit = std::chrono::seconds(10);
/// For the thread that prefetches files, to end while the mount goes on. A signal that asks the daemon to stop waits so
/// long, too.
constexpr auto kPrefetchStopLimit = std::chrono::seconds(1);
/// How long after an attempt to start such a process the next one follows.
constexpr auto kGuardPause = std::chrono::minutes(1);
constexpr int kToggleSignal = SIGUSR2;

/// Whether the mount answers requests by its path. A mount that another one covers counts as answering: no request
/// reaches it there.
bool answers(const fuse::MountSettings& settings, std::chrono::milliseconds limit) {
  return !find_own_mount(settings) || probe_mount(settings.mountpoint, limit) == MountState::kLive;
}

}  // namespace

std::optional<MountEntry> find_own_mount(const fuse::MountSettings& settings) {
  std::optional<MountEntry> top = find_mount(settings.mountpoint);
  return top && top->type == kMountType && top->source == settings.source ? top : std::nullopt;
}

MountWatch::MountWatch()
    : signals_({SIGTERM, SIGINT, SIGHUP, kToggleSignal}, SignalFd::Ignored::kDelivered),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake_) {
    throw system_error("Unable to watch the mount", errno);
  }
}

void MountWatch::post(std::function<void()> task) {
  {
    const MutexLock lock(posted_mutex_);
    posted_.push_back(std::move(task));
  }
  (void)::eventfd_write(wake_.get(), 1);
}

void MountWatch::run_posted() {
  eventfd_t ignored = 0;
  (void)::eventfd_read(wake_.get(), &ignored);
  std::vector<std::function<void()>> tasks;
  {
    const MutexLock lock(posted_mutex_);
    tasks.swap(posted_);
  }
  for (const std::function<void()>& task : tasks) {
    task();
  }
}

MountWatch::Event MountWatch::wait(int first, int second, int third, std::optional<std::chrono::milliseconds> limit) {
  constexpr std::size_t kTasks = 5;  // where those of `tasks_` begin
  std::vector<pollfd> waiting;
  while (true) {
    waiting.clear();
    for (const int fd : {signals_.fd(), first, second, third, wake_.get()}) {
      waiting.push_back({.fd = fd, .events = POLLIN, .revents = 0});
    }
    for (const Task& task : tasks_) {
      waiting.push_back({.fd = task.fd, .events = POLLIN, .revents = 0});
    }
    const int count = ::poll(waiting.data(), waiting.size(), limit ? static_cast<int>(limit->count()) : -1);
    if (count == 0) {
      return Event::kTimeout;
    }
    if (count < 0 && errno != EINTR) {
      throw system_error("Unable to wait for the end of the mount", errno);
    }
    if (count < 0) {
      continue;
    }
    if ((waiting[0].revents & POLLIN) != 0) {
      if (const auto signal = signals_.take(); signal == kToggleSignal) {
        log::warn("the log level is \"{}\" now", toggle_debug());
        continue;
      } else if (signal) {
        signal_ = *signal;
        return Event::kSignal;
      }
    }
    if (waiting[1].revents != 0) {
      return Event::kFirst;
    }
    if (waiting[2].revents != 0) {
      return Event::kSecond;
    }
    if (waiting[3].revents != 0) {
      return Event::kThird;
    }
    if (waiting[4].revents != 0) {
      run_posted();
      return Event::kTask;
    }
    for (std::size_t i = kTasks; i < waiting.size(); ++i) {
      if (waiting[i].revents != 0) {
        const auto place = tasks_.begin() + static_cast<std::ptrdiff_t>(i - kTasks);
        const std::function<void()> run = std::move(place->run);
        tasks_.erase(place);
        run();
        return Event::kTask;  // it may have replaced what `first` and `second` are
      }
    }
  }
}

bool MountWatch::wait_until_ready(fuse::Session& session, const std::string& mountpoint) {
  const Event event = wait(session.device_fd(), -1, -1, kReadyLimit);
  if (event == Event::kSignal) {
    return false;
  }
  if (event == Event::kTimeout || !session.answer_first()) {
    throw Error(ErrorCode::kMount, "The mount at \"" + mountpoint + "\" can't be served: the kernel sent no valid " +
                                       "first request within " + std::to_string(kReadyLimit.count()) + " s");
  }
  return true;
}

bool MountWatch::replace_guard(fuse::Session& session, const fuse::MountSettings& settings, MountGuard& guard) {
  // If an upgrade has failed (upgrade.h), the daemon that ended may have taken requests. What this daemon is answering
  // comes again, too; the second reply then fails, as for a request that was interrupted. This comes first: the next
  // upgrade forgets what the one before has taken, and can begin as soon as there is a keeper.
  session.take_back();
  const std::string why = guard.replace();
  if (why.empty()) {
    log::warn("\"{}\": the {} process had ended; another one has taken its place", settings.mountpoint, guard.name());
    return true;
  }
  log::warn(
      "\"{0}\": the {1} process has ended ({2}). Files are no longer prefetched (--push). Until another "
      "{1} can be started, a crash of this process can leave readers waiting",
      settings.mountpoint, guard.name(), why);
  if (!session.stop_prefetching(kPrefetchStopLimit)) {
    log::warn("\"{}\": the prefetch of a file is still going on", settings.mountpoint);
  }
  return false;
}

int MountWatch::wait_for_end(fuse::Session& session, const fuse::MountSettings& settings, ServiceManager& manager,
                             MountGuard& guard) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kNever = Clock::time_point::max();
  auto next_guard = kNever;
  while (true) {
    const auto interval = manager.watchdog_interval();
    std::optional<std::chrono::milliseconds> limit = interval;
    if (const auto next = std::min(next_guard, guard.next_improvement()); next != kNever) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
      limit = std::clamp(left, std::chrono::milliseconds(0), limit.value_or(std::chrono::milliseconds::max()));
    }
    const Event event = wait(session.ended_fd(), guard.ended_fd(), guard.lost_fd(), limit);
    if (event == Event::kSignal) {
      return signal_;
    }
    if (event == Event::kFirst) {
      return 0;
    }
    if (event == Event::kThird) {
      guard.lost();
    }
    if (event != Event::kSecond && Clock::now() >= guard.next_improvement()) {
      guard.improve();
      next_guard = guard.ended_fd() >= 0 ? kNever : next_guard;
    }
    if (event == Event::kSecond || Clock::now() >= next_guard) {
      next_guard = kNever;
      if (!replace_guard(session, settings, guard)) {
        next_guard = Clock::now() + kGuardPause;
      }
    } else if (!interval) {
      continue;
    } else if (answers(settings, *interval / 2)) {
      manager.alive();
    } else {
      log::warn("\"{}\" doesn't answer; the service manager is not told that it does", settings.mountpoint);
    }
  }
}

}  // namespace pkgfs
