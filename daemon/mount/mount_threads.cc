// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_threads.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/system_limits.h"
#include "daemon/mount/mount_settings.h"

namespace pkgfs {

void set_read_ahead(const std::string& device, std::uint32_t kib) {
  if (kib > 0 && !device.empty()) {
    std::ofstream("/sys/class/bdi/" + device + "/read_ahead_kb") << kib;
  }
}

void Guards::look_at_start(const std::string& why) {
  if (!why.empty()) {
    warn_not_kept(why);
    try_later();
  }
}

void Guards::use(Keeper& keeper, fuse::Session& session, bool replaces) {
  keeper_ = &keeper;
  session_ = &session;
  look_at_start(keeper_->start());
  if (replaces && has_keeper() && keeper_->is_backed()) {
    silence_ = keeper_->announce();
  }
}

void Guards::confirm() {
  if (has_keeper()) {
    look_at_start(keeper_->confirm());
  }
}

void Guards::back_up() {
  if (!has_keeper() || !keeper_->is_backed()) {
    return;
  }
  std::string why = std::exchange(silence_, {});
  if (why.empty()) {
    why = keeper_->register_mount();
  }
  if (!why.empty()) {
    // The first time only: it may be down for long.
    log::write(
        pause_.count() == 0 ? log::Level::kWarn : log::Level::kDebug,
        "if this daemon and its keeper are killed at once, their mount is dead: pkgfs-keeperd doesn't hold it: " + why);
    try_later();
    return;
  }
  if (pause_.count() > 0) {
    log::warn("pkgfs-keeperd holds the mount");
  }
  pause_ = std::chrono::seconds(0);
  next_try_ = Time::max();
}

void Guards::lost() {
  log::warn(
      "pkgfs-keeperd has ended: until it is there again, the mount is dead if daemon and keeper are killed at once");
  keeper_->keeperd_ended();
  try_later();
}

void Guards::try_later() {
  constexpr std::chrono::seconds kLongest(60);
  pause_ = std::clamp(2 * pause_, std::chrono::seconds(1), kLongest);
  next_try_ = std::chrono::steady_clock::now() + pause_;
}

void Guards::improve() {
  next_try_ = Time::max();
  if (!has_keeper()) {
    if (const std::string why = keeper_->start(); !why.empty()) {
      log::debug("there is still no keeper: {}", why);
      try_later();
      return;
    }
    pause_ = std::chrono::seconds(0);
    must_renew_ = false;
    guardian_.end();
    log::warn("the mount has a keeper again");
  }
  if (must_renew_) {
    (void)renew();
    return;
  }
  back_up();
}

std::string Guards::replace() {
  if (!has_keeper()) {
    return guardian_.replace();
  }
  (void)keeper_->forget_taking();  // the caller has taken it back
  const std::string why = keeper_->replace();
  if (why.empty()) {
    must_renew_ = false;
    back_up();
    return why;
  }
  warn_not_kept(why);
  try_later();
  return need();
}

std::string Guards::renew() {
  // An upgrade that has failed meanwhile has ended the keeper before, which nothing watches any more. The daemon that
  // also ended may have taken requests (MountWatch::replace_guard). It must also be done first: the next upgrade, which
  // may begin as soon as there is another keeper, forgets what the one before has taken.
  const auto take_back = [this] {
    if (keeper_->forget_taking()) {
      session_->take_back();
    }
  };
  take_back();
  std::string why = keeper_->start();
  take_back();
  if (!why.empty()) {
    log::debug("the keeper still holds what the mount had open before: {}", why);
    must_renew_ = true;
    try_later();
    return why;
  }
  if (std::exchange(must_renew_, false)) {
    pause_ = std::chrono::seconds(0);
  }
  back_up();
  return why;
}

std::string Guards::need() {
  if (ended_fd() >= 0) {
    return has_keeper() && !keeper_->can_abort() ? "this process may not abort FUSE connections" : "";
  }
  return device_.empty() ? "another mount covers this one" : guardian_.start(connection());
}

void start_prefetching(fuse::Session& session, fuse::ContentPrefetcher& prefetcher, Guards& guards) {
  const std::string why = guards.need();
  if (!why.empty()) {
    log::info("files are not prefetched (--push): {}", why);
    return;
  }
  try {
    session.start_prefetching(prefetcher, static_cast<unsigned>(std::stoul(guards.connection())));
  } catch (const std::system_error& error) {
    log::warn("files are not prefetched (--push): no thread can be started: {}", start_text(error.code().value()));
  }
}

void start_following(ManifestFollower& follower, const std::string& device) {
  try {
    follower.start(device_number(device));
  } catch (const std::system_error& error) {
    log::warn("changes of the manifest aren't taken over: {}", start_text(error.code().value()));
  }
}

void start_notifying(fuse::Session& session, fuse::ChangeNotifier& notifier, Guards& guards) {
  std::string why = guards.need();
  if (why.empty()) {
    try {
      session.start_notifying(notifier);
      return;
    } catch (const std::system_error& error) {
      const int errnum = error.code().value();
      why = errnum == EMFILE ? inotify_text(errnum) : start_text(errnum);
    }
  }
  log::warn("changes of live directories show only after --live-timeout: {}", why);
}

void start_cpu_latency(fuse::CpuLatency& cpu_latency, std::optional<bool> asked) {
  if (const std::string why = cpu_latency.start(cpu_latency_use(asked)); !why.empty()) {
    log::write(asked == true ? log::Level::kWarn : log::Level::kDebug, "idle CPUs may sleep (--cpu-latency): " + why);
  }
}

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

}  // namespace pkgfs
