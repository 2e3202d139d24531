// SPDX-License-Identifier: MIT
#include "daemon/mount/refresher.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/webc/json_builder.h"
#include "daemon/mount/covered_names.h"
#include "daemon/mount/let_go.h"
#include "daemon/mount/on_change.h"

namespace pkgfs {
namespace {

using webc::Json;

/// While older versions are open, or names wait until they are uncovered.
constexpr auto kTidyPause = std::chrono::milliseconds(500);
/// How often the lock file is looked at.
constexpr auto kLockPause = std::chrono::seconds(1);
constexpr auto kAnsweringLimit = std::chrono::seconds(1);
constexpr auto kAnsweringStep = std::chrono::milliseconds(1);

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
  if (fresh_.lock()) {
    lock_stamp_ = lock_stamp_of(*fresh_.lock());
  }
}

Refresher::~Refresher() {
  if (!stop(std::chrono::seconds(5))) {
    std::_Exit(EXIT_FAILURE);  // the thread waits for a disk and uses this object
  }
}

void Refresher::start(int listener, std::string device, bool restored) {
  device_ = std::move(device);
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) {
    throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  if (restored) {
    waiting_ = versions_.all_names();
    publish();
  }
  if (options_.follow) {
    next_follow_ = Clock::now() + *options_.follow;
  }
  thread_ = std::thread([this, listener] {
    run(listener);
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

void Refresher::run(int listener) {
  std::vector<pollfd> waited;
  while (!stopping_) {
    waited = {{.fd = wake_.get(), .events = POLLIN, .revents = 0}, {.fd = listener, .events = POLLIN, .revents = 0}};
    for (const int lazy : versions_.lazy_fds()) {
      waited.push_back({.fd = lazy, .events = POLLIN, .revents = 0});
    }
    if (::poll(waited.data(), waited.size(), pause()) < 0 && errno != EINTR) {
      log::warn("\"{}\" can't be refreshed any more: poll: {}", mount_.mountpoint,
                std::generic_category().message(errno));
      return;
    }
    try {
      if (waited[1].revents != 0 && !stopping_) {
        serve_control(listener, [this](ControlRequest request) { return answer(request); });
      }
      for (std::size_t i = 2; i < waited.size(); ++i) {
        if (eventfd_t ignored = 0; waited[i].revents != 0 && ::eventfd_read(waited[i].fd, &ignored) == 0) {
          call_main(mount_.keep);  // with descriptors of the complete containers
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
      }
    }
  }
}

int Refresher::pause() const {
  auto next = next_follow_;
  if (!waiting_.empty() || (mount_.closes_old && !versions_.leaving(options_.keep_old).empty())) {
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
  return !stamp.empty() && std::exchange(lock_stamp_, stamp) != stamp;
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
  try {
    (void)refresh(false);
    report({});
  } catch (const Error& error) {
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
  if (!asked && !refused_.empty()) {
    known.insert(refused_);
  }
  FreshTree::Fresh fresh = fresh_.open(versions_.shown(), known);
  if (fresh.identity == versions_.shown_identity() || (!asked && fresh.identity == refused_)) {
    return {{"changed", false}, {"package", before}};
  }
  refused_.clear();
  std::optional<std::uint64_t> number = versions_.find(fresh.identity);
  if (!number) {
    mount_.check(*fresh.opened);
    if (versions_.generations() == nullptr) {
      call_main(mount_.before_first);
      versions_.begin();
      mount_.adapter.use_generations(*versions_.generations());
    }
    number = versions_.add(*std::move(fresh.opened), fresh.identity);
  }
  show(*number);
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
  refused_ = versions_.shown_identity();
  show(*number);
  publish();
  const std::string now = versions_.shown_name();
  log::info("\"{}\" shows \"{}\" again, as asked; it showed \"{}\"", mount_.mountpoint, now, before);
  return {{"changed", true}, {"package", now}, {"before", before}};
}

void Refresher::show(std::uint64_t number) {
  const std::uint64_t before = versions_.generations()->shown();
  call_main(mount_.keep);  // first: if this daemon is killed from now on, the next one knows the version
  std::set<std::string> names = versions_.names(before);
  names.merge(versions_.names(number));
  names.merge(std::exchange(waiting_, {}));
  const std::string old = versions_.shown_name();
  versions_.show(number);
  before_switch_.emplace(mount_.state);
  let_go_pause_ = {};
  next_let_go_ = Clock::now() + kTidyPause;
  tell(std::move(names));
  if (!options_.on_change.empty()) {
    changed_ = {changed_ ? changed_->first : old, versions_.shown_name()};
  }
}

void Refresher::tell(std::set<std::string> names) {
  const std::set<std::string> covered = covered_names(device_);
  std::vector<std::string> told;
  std::ranges::set_difference(names, covered, std::back_inserter(told));
  std::set<std::string> waiting;
  std::ranges::set_intersection(names, covered, std::inserter(waiting, waiting.end()));
  waiting_ = std::move(waiting);
  mount_.session.tell_root_changed(told);
}

void Refresher::tell_uncovered() {
  if (waiting_.empty()) {
    return;
  }
  const std::set<std::string> covered = covered_names(device_);
  if (!std::ranges::includes(covered, waiting_)) {
    tell(std::exchange(waiting_, {}));
  }
}

void Refresher::close_unused() {
  if (!mount_.closes_old || versions_.generations() == nullptr || (before_switch_ && !before_switch_->have_ended())) {
    return;
  }
  bool any = false;
  for (const std::uint64_t number : versions_.unused(options_.keep_old)) {
    any = close(number) || any;
  }
  if (any) {
    call_main(mount_.keep);  // without the descriptors of the closed versions
    publish();
  }
}

void Refresher::let_go() {
  constexpr auto kFirst = std::chrono::milliseconds(1000);
  constexpr auto kLongest = std::chrono::minutes(10);
  if (!mount_.closes_old || versions_.generations() == nullptr || Clock::now() < next_let_go_) {
    return;
  }
  for (const std::uint64_t number : versions_.leaving(options_.keep_old)) {
    if (!versions_.generations()->is_unused(number)) {
      let_go_of(mount_.session, versions_.tree_of(number), number, stopping_);
    }
  }
  let_go_pause_ = std::clamp<std::chrono::milliseconds>(2 * let_go_pause_, kFirst, kLongest);
  next_let_go_ = Clock::now() + let_go_pause_;
}

bool Refresher::close(std::uint64_t number) {
  vfs::Generations& generations = *versions_.generations();
  const std::size_t slot = vfs::Generations::slot_of(number);
  const auto is_of_it = [&](std::uint64_t file) { return generations.slot_of_inode(file) == slot; };
  versions_.hide(number);
  fuse::Answering answering(mount_.state);
  const auto deadline = Clock::now() + kAnsweringLimit;
  while (!answering.have_ended() && Clock::now() < deadline) {
    std::this_thread::sleep_for(kAnsweringStep);
  }
  if (!answering.have_ended() || mount_.adapter.waiting_reads().is_reading(is_of_it) ||
      !generations.is_unused(number)) {
    versions_.give_back(number);
    return false;
  }
  log::debug("\"{}\": nothing uses \"{}\" any more; it is closed", mount_.mountpoint, versions_.name_of(number));
  versions_.close(number);
  return true;
}

void Refresher::run_command() {
  if (!changed_) {
    return;
  }
  const auto [before, now] = *std::exchange(changed_, std::nullopt);
  const std::string why = run_on_change(
      options_.on_change, {{"PKGFS_MOUNTPOINT", mount_.mountpoint}, {"PKGFS_OLD", before}, {"PKGFS_NEW", now}},
      kOnChangeLimit, wake_.get());
  if (!why.empty()) {
    log::warn("\"{}\": the command of --on-change failed: {}", mount_.mountpoint, why);
  }
}

void Refresher::call_main(const std::function<void()>& task) {
  if (!task) {
    return;
  }
  struct Call {
    std::promise<void> done;
    std::atomic<bool> given_up{false};
  };
  constexpr auto kStep = std::chrono::milliseconds(50);
  const auto call = std::make_shared<Call>();
  std::future<void> done = call->done.get_future();
  mount_.on_main([call, task] {
    if (!call->given_up) {
      task();
    }
    call->done.set_value();
  });
  while (done.wait_for(kStep) != std::future_status::ready) {
    if (stopping_) {
      call->given_up = true;
      throw Error(ErrorCode::kInterrupted, "the mount ends");
    }
  }
}

void Refresher::publish() {
  facts_.shown = versions_.shown_name();
  facts_.kept = versions_.kept_names(options_.keep_old);
  facts_.open = versions_.count();
  mount_.shows(facts_);
}

}  // namespace pkgfs
