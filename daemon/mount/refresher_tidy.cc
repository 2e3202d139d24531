// SPDX-License-Identifier: MIT
// The members of Refresher that tell the kernel of a change, and that close what nothing uses any more.
#include <algorithm>
#include <chrono>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/log.h"
#include "daemon/mount/call_elsewhere.h"
#include "daemon/mount/covered_names.h"
#include "daemon/mount/let_go.h"
#include "daemon/mount/refresher.h"

namespace pkgfs {
namespace {

/// Between two looks at the mount tables of all processes.
constexpr auto kLongestLookPause = std::chrono::seconds(10);
constexpr auto kAnsweringLimit = std::chrono::seconds(1);
constexpr auto kAnsweringStep = std::chrono::milliseconds(1);

}  // namespace

void Refresher::tell(std::set<std::string> names) {
  const std::set<std::string> covered = covered_names(device_);
  std::vector<std::string> told;
  std::ranges::set_difference(names, covered, std::back_inserter(told));
  std::set<std::string> waiting;
  std::ranges::set_intersection(names, covered, std::inserter(waiting, waiting.end()));
  waiting_ = std::move(waiting);
  look_pause_ = std::clamp<std::chrono::milliseconds>(2 * look_pause_, kTidyPause, kLongestLookPause);
  next_look_ = Clock::now() + look_pause_;
  versions_.generations()->list_names_only(!waiting_.empty());
  mount_.session.tell_root_changed(told);
}

void Refresher::tell_uncovered() {
  if (waiting_.empty() || Clock::now() < next_look_) {
    return;
  }
  look_pause_ = std::min<std::chrono::milliseconds>(2 * look_pause_, kLongestLookPause);
  next_look_ = Clock::now() + look_pause_;
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
    keep_or_warn();  // without the descriptors of the closed versions
    publish();
  }
}

void Refresher::let_go() {
  constexpr auto kFirst = std::chrono::milliseconds(1000);
  constexpr auto kLongest = std::chrono::minutes(10);
  if (!mount_.closes_old || versions_.generations() == nullptr || Clock::now() < next_let_go_) {
    return;
  }
  // By names, a mount below an entry would be detached.
  const std::set<std::string> spared = mount_.adapter.can_prune() ? std::set<std::string>() : waiting_;
  for (const std::uint64_t number : versions_.leaving(options_.keep_old)) {
    if (!versions_.generations()->is_unused(number)) {
      let_go_of(mount_.session, versions_.tree_of(number), number, spared, stopping_);
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
  if (versions_.close(number)) {
    const auto fetched = std::make_shared<std::unique_ptr<LazyMount>>();
    call_elsewhere(mount_.on_main, [fetched, take = mount_.first_is_closed] { *fetched = take(); }, stopping_);
    // It ends in this thread, which may wait for the disk.
    if (const std::unique_ptr<LazyMount> ended = std::move(*fetched)) {
      ended->save_blocks();
    }
  }
  return true;
}

}  // namespace pkgfs
