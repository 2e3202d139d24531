// SPDX-License-Identifier: MIT
#include "daemon/mount/refresher.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <memory>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/system_limits.h"
#include "core/webc/json_builder.h"
#include "daemon/mount/call_elsewhere.h"
#include "daemon/mount/on_change.h"

namespace pkgfs {
namespace {

using webc::Json;

constexpr auto kFirstListenPause = std::chrono::milliseconds(100);
constexpr auto kLongestListenPause = std::chrono::seconds(10);
/// After a failure that may come again at once.
constexpr int kFailurePauseMs = 100;
/// How often the lock file is looked at.
constexpr auto kLockPause = std::chrono::seconds(1);

/// Tells one state of a file from another; empty if there is none.
std::string lock_stamp_of(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) != 0
             ? std::string()
             : fmt::format("{} {} {} {}.{}", status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec,
                           status.st_mtim.tv_nsec);
}

}  // namespace

Refresher::Refresher(FreshTree& fresh, Versions& versions, Options options, Mount mount)
    : fresh_(fresh),
      versions_(versions),
      options_(std::move(options)),
      mount_(std::move(mount)),
      ended_(done_.get_future()) {
  if (VersionNotes notes = versions_.notes(); fresh_.lock() && notes.lock_stamp.empty()) {
    notes.lock_stamp = lock_stamp_of(*fresh_.lock());
    versions_.note(std::move(notes));
  }
}

Refresher::~Refresher() {
  if (!stop(std::chrono::seconds(5))) {
    std::_Exit(EXIT_FAILURE);  // the thread waits for a disk and uses this object
  }
}

void Refresher::start(UniqueFd listener, std::string device, bool restored) {
  listener_ = std::move(listener);
  device_ = std::move(device);
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) {
    throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  if (restored) {
    waiting_ = versions_.all_names();
    versions_.begin_lazily();
    publish();
  }
  if (options_.follow) {
    next_follow_ = Clock::now() + *options_.follow;
  }
  thread_ = std::thread([this] {
    run();
    done_.set_value();
  });
}

bool Refresher::stop(std::chrono::milliseconds limit) {
  if (!thread_.joinable()) {
    return true;
  }
  stopping_ = true;
  fresh_.cancel();
  (void)::eventfd_write(wake_.get(), 1);
  if (ended_.wait_for(limit) != std::future_status::ready) {
    return false;
  }
  thread_.join();
  return true;
}

void Refresher::listen_again() {
  if (listener_ || Clock::now() < next_listen_) {
    return;
  }
  listener_ = listen_for_control(connection_of(device_));
  if (listener_) {
    return;
  }
  const int error = errno;
  listen_pause_ = std::clamp<std::chrono::milliseconds>(2 * listen_pause_, kFirstListenPause, kLongestListenPause);
  next_listen_ = Clock::now() + listen_pause_;
  // The daemon before may hold the address for a moment.
  if (listen_pause_ > std::chrono::seconds(1) && listen_pause_ <= std::chrono::seconds(2)) {
    log::warn("\"pkgfs refresh\" can't reach \"{}\" now: {}", mount_.mountpoint,
              error == EADDRINUSE ? "another process listens for its requests" : errno_text(error));
  }
}

void Refresher::run() {
  std::vector<pollfd> waited;
  bool must_refresh = versions_.has_lost_shown();
  while (!stopping_) {
    listen_again();
    waited = {{.fd = wake_.get(), .events = POLLIN, .revents = 0},
              {.fd = listener_.get(), .events = POLLIN, .revents = 0}};
    for (const int lazy : versions_.lazy_fds()) {
      waited.push_back({.fd = lazy, .events = POLLIN, .revents = 0});
    }
    if (::poll(waited.data(), waited.size(), must_refresh ? 0 : pause()) < 0 && errno != EINTR) {
      log::warn("\"{}\" can't be refreshed any more: poll: {}", mount_.mountpoint,
                std::generic_category().message(errno));
      return;
    }
    try {
      if (std::exchange(must_refresh, false)) {
        (void)answer(ControlRequest::kRefresh);
      }
      if (waited[1].revents != 0 && !stopping_ &&
          !serve_control(listener_.get(), [this](ControlRequest request) { return answer(request); })) {
        (void)::poll(waited.data(), 1, kFailurePauseMs);  // there are no free descriptors
      }
      for (std::size_t i = 2; i < waited.size(); ++i) {
        if (eventfd_t ignored = 0; waited[i].revents != 0 && ::eventfd_read(waited[i].fd, &ignored) == 0) {
          keep_or_warn();  // with descriptors of the complete containers
          mount_.on_main(mount_.shown_changed);
        }
      }
      follow();
      run_command();
      tell_uncovered();
      let_go();
      close_unused();
    } catch (const std::exception& error) {
      if (!stopping_) {
        log::warn("\"{}\": {}", mount_.mountpoint, error);
        (void)::poll(waited.data(), 1, kFailurePauseMs);
      }
    }
  }
}

int Refresher::pause() const {
  auto next = next_follow_;
  if (!listener_) {
    next = std::min(next, next_listen_);
  }
  if (!waiting_.empty()) {
    next = std::min(next, next_look_);
  }
  if ((mount_.closes_old && !versions_.leaving(options_.keep_old).empty())) {
    next = std::min(next, Clock::now() + kTidyPause);
  }
  if (options_.follow && fresh_.lock()) {
    next = std::min(next, Clock::now() + kLockPause);
  }
  if (next == Clock::time_point::max()) {
    return -1;
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
  return static_cast<int>(
      std::clamp<std::int64_t>(left.count(), 0, std::chrono::milliseconds(kLockPause).count() * 60));
}

Json Refresher::answer(ControlRequest request) {
  if (!mount_.obstacle.empty()) {
    throw Error(ErrorCode::kUnsupported, mount_.obstacle);
  }
  if (request == ControlRequest::kRollback) {
    return roll_back();
  }
  try {
    Json said = refresh(true);
    report({});
    return said;
  } catch (const Error& error) {
    report(error.what());
    throw;
  }
}

bool Refresher::lock_has_changed() {
  if (!fresh_.lock()) {
    return false;
  }
  const std::string stamp = lock_stamp_of(*fresh_.lock());
  VersionNotes notes = versions_.notes();
  if (stamp.empty() || std::exchange(notes.lock_stamp, stamp) == stamp) {
    return false;
  }
  versions_.note(std::move(notes));
  return true;
}

void Refresher::follow() {
  if (!options_.follow || !mount_.obstacle.empty()) {
    return;
  }
  const bool is_due = Clock::now() >= next_follow_;
  if (fresh_.lock() ? !lock_has_changed() && !(is_due && !facts_.problem.empty()) : !is_due) {
    next_follow_ = is_due ? Clock::now() + *options_.follow : next_follow_;
    return;
  }
  next_follow_ = Clock::now() + *options_.follow;  // first: a failure of any kind mustn't come again at once
  try {
    (void)refresh(false);
    report({});
  } catch (const std::exception& error) {
    report(error.what());
  }
  next_follow_ = Clock::now() + *options_.follow;
}

void Refresher::report(const std::string& problem) {
  if (stopping_) {
    return;
  }
  facts_.failures += problem.empty() ? 0 : 1;
  if (std::exchange(facts_.problem, problem) != problem && !problem.empty()) {
    log::warn("\"{}\" stays as it is, because it can't be refreshed: {}", mount_.mountpoint, problem);
  }
  publish();
}

Json Refresher::refresh(bool asked) {
  const std::string before = versions_.shown_name();
  std::set<std::string> known = versions_.identities();
  const std::string refused = versions_.notes().refused;
  if (!asked && !refused.empty()) {
    known.insert(refused);
  }
  FreshTree::Fresh fresh = fresh_.open(versions_.shown(), known);
  if (fresh.identity == versions_.shown_identity() || (!asked && fresh.identity == refused)) {
    return {{"changed", false}, {"package", before}};
  }
  std::optional<std::uint64_t> number = versions_.find(fresh.identity);
  if (!number) {
    mount_.check(*fresh.opened);
    if (versions_.generations() == nullptr) {
      call_elsewhere(mount_.on_main, mount_.before_first, stopping_);
      versions_.begin();
      mount_.adapter.use_generations(*versions_.generations());
    }
    number = versions_.add(*std::move(fresh.opened), fresh.identity);
  }
  show(*number, {});
  ++facts_.refreshes;
  publish();
  const std::string now = versions_.shown_name();
  log::info("\"{}\" shows \"{}\" now; it showed \"{}\"", mount_.mountpoint, now, before);
  return {{"changed", true}, {"package", now}, {"before", before}};
}

Json Refresher::roll_back() {
  const std::optional<std::uint64_t> number = versions_.former(options_.keep_old);
  if (!number) {
    throw Error(ErrorCode::kNotFound, "no older version is kept; --keep-old=N of \"pkgfs mount\" keeps N");
  }
  const std::string before = versions_.shown_name();
  show(*number, versions_.shown_identity());
  publish();
  const std::string now = versions_.shown_name();
  log::info("\"{}\" shows \"{}\" again, as asked; it showed \"{}\"", mount_.mountpoint, now, before);
  return {{"changed", true}, {"package", now}, {"before", before}};
}

std::string Refresher::keep() {
  const auto why = std::make_shared<std::string>();
  call_elsewhere(mount_.on_main, [why, keep = mount_.keep] { *why = keep(); }, stopping_);
  return *why;
}

void Refresher::keep_or_warn() {
  if (const std::string why = keep(); !why.empty()) {
    log::warn("\"{}\": the packages are still kept as they were before: {}", mount_.mountpoint, why);
  }
}

void Refresher::show(std::uint64_t number, std::string refused) {
  const std::uint64_t before = versions_.generations()->shown();
  const VersionNotes old_notes = versions_.notes();
  VersionNotes notes = old_notes;
  notes.refused = std::move(refused);
  if (!options_.on_change.empty()) {
    // The command is told once of several changes that come before it runs.
    const std::uint64_t next = versions_.next_announcement();
    notes.change = {.number = next,
                    .before = notes.change.number == next ? notes.change.before : versions_.shown_name(),
                    .now = versions_.name_of(number)};
  }
  versions_.note(std::move(notes));
  // First: if this daemon is killed from now on, the next one knows the version.
  if (const std::string why = keep(); !why.empty()) {
    versions_.note(old_notes);
    throw Error(ErrorCode::kUnsupported, "if the daemon were killed, the next one wouldn't know the version: " + why);
  }
  std::set<std::string> names = versions_.names(before);
  names.merge(versions_.names(number));
  names.merge(std::exchange(waiting_, {}));
  versions_.generations()->list_names_only(true);  // until it is known which names are covered
  versions_.show(number);
  before_switch_.emplace(mount_.state);
  mount_.on_main(mount_.shown_changed);
  let_go_pause_ = {};
  next_let_go_ = Clock::now() + kTidyPause;
  look_pause_ = {};
  tell(std::move(names));
}

void Refresher::run_command() {
  if (options_.on_change.empty() || versions_.generations() == nullptr) {
    return;
  }
  const VersionNotes::Change change = versions_.notes().change;
  // A daemon that was killed may have noted a change and not made it.
  if (change.number != versions_.next_announcement() || change.now != versions_.shown_name()) {
    return;
  }
  versions_.announce(change.number);
  const std::string why =
      run_on_change(options_.on_change,
                    {{"PKGFS_MOUNTPOINT", mount_.mountpoint}, {"PKGFS_OLD", change.before}, {"PKGFS_NEW", change.now}},
                    kOnChangeLimit, wake_.get());
  if (!why.empty()) {
    log::warn("\"{}\": the command of --on-change failed: {}", mount_.mountpoint, why);
  }
}

void Refresher::publish() {
  facts_.shown = versions_.shown_name();
  facts_.kept = versions_.kept_names(options_.keep_old);
  facts_.open = versions_.count();
  mount_.shows(facts_);
}

}  // namespace pkgfs
