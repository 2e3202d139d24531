// SPDX-License-Identifier: MIT
#include "daemon/mount/served_mount.h"

#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/cli/exit_code.h"
#include "daemon/mount/crash_reports.h"
#include "daemon/mount/guarding.h"
#include "daemon/mount/mount_settings.h"
#include "daemon/observe/lazy_state.h"
#include "daemon/observe/metrics_text.h"
#include "daemon/observe/stats_json.h"
#include "daemon/packages/memory_budget.h"
#include "daemon/packages/own_source.h"

namespace pkgfs {
namespace {

/// Finds changes of the containers, so that what is told of the mount next says so.
void look_for_changes(vfs::FileSystem& tree) { (void)tree.is_intact(tree.root()); }

/// How long a request that is being answered may take once the daemon was asked to stop. Most disks answer sooner; if
/// one doesn't answer at all, no program should wait longer.
constexpr auto kReplyLimit = std::chrono::seconds(1);

}  // namespace

ServedMount::ServedMount(MountWatch& watch, OpenedTree opened, LaterTrees later, const MountOptions& options,
                         const std::string& mountpoint, ServiceManager& manager, std::optional<Predecessor> predecessor,
                         WritablePlace* writable)
    : watch_(watch),
      opened_(std::move(opened)),
      options_(options),
      mountpoint_(mountpoint),
      manager_(manager),
      fresh_(*later.fresh),
      versions_(opened_, is_made_to_be_refreshed(options),
                predecessor ? std::exchange(predecessor->versions, {}) : std::nullopt,
                predecessor ? predecessor->identity : std::nullopt),
      tree_(versions_.tree()),
      succession_(std::move(predecessor), keeping_of(options, opened_, later.followed, manager), mountpoint),
      statistics_(succession_.state()),
      prefetcher_(tree_, statistics_, page_cache_ahead(control_group_limit())),
      // The prefetcher knows one tree.
      used_prefetcher_(options.push && options.skip_open && tree_.is_immutable() && versions_.generations() == nullptr
                           ? &prefetcher_
                           : nullptr),
      cpu_latency_(statistics_),
      lazy_(std::make_unique<LazyMount>(opened_.tree)),
      facts_(first_facts()),
      journal_(make_journal()),
      adapter_(tree_, statistics_, shown()),
      settings_(mount_settings(options, facts_)),
      session_(adapter_, settings_) {
  if (!options.metrics.empty() && succession_.predecessor() == nullptr) {
    open_metrics();
  }
  if (tree_.changes() != nullptr && options.live_timeout > 0) {
    notifier_.emplace(tree_, statistics_, adapter_);
  }
  if (later.followed != nullptr) {
    follow(*later.followed);
  }
  if (const Predecessor* const before = succession_.predecessor(); before != nullptr && options.writable) {
    writable_.emplace(WritableMount::adopt(mountpoint_, locks_of(before->record)));
  } else if (writable != nullptr) {
    writable_.emplace(writable->run(), writable->locks(), writable->take_changes());
  }
  if (writable_) {
    const MutexLock lock(facts_mutex_);
    facts_.mountpoint = writable_->mountpoint();
  }
  prepare_refresher();
}

std::optional<fuse::LiveJournal> ServedMount::make_journal() {
  if (succession_.predecessor() != nullptr || !succession_.is_kept() || tree_.changes() == nullptr) {
    return std::nullopt;  // a predecessor has one
  }
  try {
    return fuse::LiveJournal::create();
  } catch (const Error& error) {
    succession_.keep_nothing(error.message());
    return std::nullopt;
  }
}

fuse::AdapterOptions ServedMount::shown() {
  fuse::AdapterOptions options = adapter_options(
      options_, [this] { return versions_.usage(); }, used_prefetcher_, cpu_latency_, succession_.is_kept(),
      [this] { return stats_json(facts(), statistics_.snapshot(), lazy_state(lazy_sources())); });
  if (succession_.is_kept() && tree_.changes() != nullptr) {
    options.passthrough = false;  // another daemon couldn't tell the kernel to close what it reads by itself
  }
  return options;
}

MountFacts ServedMount::first_facts() {
  const Predecessor* const before = succession_.predecessor();
  MountFacts facts = mount_facts(
      opened_.tree, before != nullptr ? before->record.source : mount_source(opened_, options_.package), mountpoint_);
  if (before != nullptr) {
    facts.since = before->record.since;
    facts.generation = before->record.generation;
    facts.last_end = before->record.last_end;
  }
  return facts;
}

MountFacts ServedMount::facts() {
  look_for_changes(tree_);
  const MutexLock lock(facts_mutex_);
  MountFacts copy = facts_;
  succession_.describe(copy);
  return copy;
}

MountRecord ServedMount::record() {
  const MutexLock lock(facts_mutex_);
  MountRecord made = record_of(options_, facts_, succession_.predecessor());
  made.mountpoint = mountpoint_;  // of a writable mount, the facts have that of the overlay
  made.package = fresh_.package();
  return made;
}

void ServedMount::open_metrics() {
  metrics_.emplace(options_.metrics,
                   [this] { return metrics_text(facts(), statistics_.snapshot(), lazy_state(lazy_sources())); });
  const MutexLock lock(facts_mutex_);
  facts_.metrics = metrics_->address();
}

void ServedMount::follow(FollowedTree& followed) {
  covered_.reset(::open(mountpoint_.c_str(), O_PATH | O_CLOEXEC));
  opened_.root.reset();  // `followed` keeps what the tree needs
  opened_.tree.packages.clear();
  opened_.tree.commands.clear();
  follower_.emplace(
      followed,
      [this](const PackageTree& fresh) {
        refuse_own_source(fresh, covered_.get(), "The mount point \"" + mountpoint_ + "\"");
      },
      [this, &followed] {
        const MutexLock lock(facts_mutex_);
        facts_.packages = ids_of(followed.packages());
      });
}

void ServedMount::go_on() {
  succession_.go_on(session_, statistics_);
  versions_.resume(succession_.replaces());
  if (tree_.changes() != nullptr) {
    journal_.emplace(fuse::LiveJournal::adopt(journal_of(succession_.predecessor()->record)));
  }
}

void ServedMount::start_serving() {
  if (journal_) {
    adapter_.use_journal(*journal_, !succession_.replaces());
  }
  succession_.start(session_, statistics_,
                    {.record = record(),
                     .parts = parts(),
                     .servers = server_options(options_, used_prefetcher_),
                     .tree = tree_,
                     .ids = adapter_.live_ids(),
                     .serve_alone = [this] { adapter_.is_alone_now(); }});
}

void ServedMount::tell_ready(const std::function<void(const std::string&)>& ready) {
  const bool is_new = succession_.predecessor() == nullptr;
  if (!is_new && !options_.metrics.empty()) {
    open_metrics_again([this] { open_metrics(); });
  }
  if (metrics_) {
    metrics_->start();
    log::info("metrics are served at {}", metrics_->address());
  }
  start_cpu_latency(cpu_latency_, options_.cpu_latency);  // before `ready`: it may have to warn the user
  if (is_new) {
    const std::string& shown = writable_ ? writable_->mountpoint() : mountpoint_;
    const std::string message = "\"" + settings_.source + "\" is mounted at \"" + shown + "\"";
    log::info("{}", message);
    ready(message);
  }
  manager_.ready(settings_.source + " at " + mountpoint_);
}

void ServedMount::suit_shown() {
  const auto is_fetched = [](const auto& source) { return source->state() != LazySource::State::kWhole; };
  if (std::ranges::any_of(lazy_sources(), is_fetched)) {
    reads_little_ahead_ = true;
    set_read_ahead(succession_.guards().device(), kLazyReadAhead);
    return;
  }
  const bool read_little = std::exchange(reads_little_ahead_, false);
  set_read_ahead(succession_.guards().device(),
                 read_little && options_.read_ahead == 0 ? kUsualReadAhead : options_.read_ahead);
  if (used_prefetcher_ != nullptr) {
    start_prefetching(session_, *used_prefetcher_, succession_.guards());
  }
}

void ServedMount::begin_lazily() {
  // For the thread that drops wrong pages (fuse/waiting_reads.h), which may wait in the kernel.
  if (const std::string why = succession_.guards().need(); !why.empty()) {
    log::debug("\"{}\" has no guardian: {}", mountpoint_, why);
  }
  watch_.call_when_readable(lazy_->whole_fd(), [this] {
    log::info("\"{}\": all packages are complete", mountpoint_);
    if (const std::string why = keep_again(); !why.empty()) {
      log::warn("\"{}\": the packages are still kept as they were before: {}", mountpoint_, why);
    }
    suit_shown();
  });
  lazy_->begin();
}

void ServedMount::start_helpers() {
  succession_.confirm();
  if (succession_.keeping() == Keeping::kServiceManager) {
    CrashReports::note_crashes();
    if (const std::string why = succession_.store(manager_, record(), parts()); !why.empty()) {
      warn_not_kept(why);
    }
  }
  succession_.watch_predecessor(watch_, session_, [this] {
    if (!control_ && !refresher_->is_running()) {
      begin_refreshing();  // it has held the address until now
    }
  });
  suit_shown();
  if (lazy_->is_lazy()) {
    begin_lazily();
  }
  if (notifier_) {
    start_notifying(session_, *notifier_, succession_.guards());
  }
  if (follower_) {
    start_following(*follower_, succession_.guards().device());
  }
  begin_refreshing();
}

int ServedMount::end(int exit_code) {
  manager_.stopping();
  if (writable_) {
    writable_->detach();
  }
  succession_.let_go(manager_);
  const bool refresher_ended = refresher_->stop(kReplyLimit);  // first: it may wait for requests
  const bool stopped = session_.stop(kReplyLimit) && refresher_ended;
  if (!stopped) {
    log::warn("\"{}\": a request was still being answered after {} s; it fails", mountpoint_, kReplyLimit.count());
  }
  if (!(follower_ ? follower_->stop(kReplyLimit) && stopped : stopped)) {
    if (lazy_) {
      lazy_->save_profiles();
    }
    metrics_.reset();
    if (writable_) {
      writable_->finish();
    }
    std::_Exit(exit_code);  // the mount has ended, as was asked; only the disk of its package is late
  }
  if (writable_) {
    writable_->finish();
  }
  return exit_code;
}

int ServedMount::serve(const std::function<void(const std::string&)>& ready) {
  if (succession_.predecessor() != nullptr) {
    go_on();
  } else if (!succession_.begin(watch_, session_, settings_, options_.mountpoint)) {
    return end(to_exit_code(ErrorCode::kInterrupted));
  }
  succession_.keep_requests(session_);
  start_serving();
  if (writable_) {
    attach_overlay();
  }
  tell_ready(ready);
  start_helpers();
  const int signal = watch_.wait_for_end(session_, settings_, manager_, succession_.guards());
  log::info("\"{}\" ends: {}", mountpoint_, signal == 0 ? "unmounted" : "a signal asked for it");
  return end(kExitOk);
}

}  // namespace pkgfs
