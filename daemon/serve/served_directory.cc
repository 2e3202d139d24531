// SPDX-License-Identifier: MIT
#include "daemon/serve/served_directory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/system_limits.h"
#include "daemon/cli/exit_code.h"
#include "daemon/mount/crash_reports.h"
#include "daemon/mount/guarding.h"
#include "daemon/mount/mount_settings.h"
#include "daemon/observe/lazy_state.h"
#include "daemon/observe/metrics_text.h"
#include "daemon/observe/stats_json.h"
#include "daemon/serve/serve_packages.h"

namespace pkgfs {
namespace {

constexpr auto kReplyLimit = std::chrono::seconds(1);

/// Of packages, as far as descriptors suffice. One that is read in parts has up to a dozen: three of each container,
/// those of its HTTP client, and connections.
std::size_t most_open() {
  constexpr rlim_t kFew = 64;
  constexpr rlim_t kEach = 12;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return vfs::ServedFileSystem::kSlots;
  }
  return static_cast<std::size_t>(std::clamp<rlim_t>(limit.rlim_cur / kEach, kFew, vfs::ServedFileSystem::kSlots));
}

std::int64_t now_in_seconds() { return std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()); }

}  // namespace

ServedDirectory::ServedDirectory(MountWatch& watch, PackageNames& names, const MountOptions& options,
                                 const std::string& mountpoint, ServiceManager& manager,
                                 std::optional<Predecessor> predecessor)
    : watch_(watch),
      names_(names),
      options_(options),
      mountpoint_(mountpoint),
      manager_(manager),
      since_(predecessor ? predecessor->record.since : now_in_seconds()),
      fs_(names, {.immutable = options.tree.verify != Verify::kRead,
                  .patience = names.patience(),
                  .modified = since_,
                  .most_open = std::min(most_open(), names.most_open())}),
      succession_(std::move(predecessor), keeping_of(options, manager), mountpoint),
      statistics_(succession_.state()),
      cpu_latency_(statistics_),
      facts_(first_facts()),
      adapter_(fs_, statistics_, shown()),
      settings_(mount_settings(options, first_facts())) {
  adapter_.use_served(fs_);
  session_ = std::make_unique<fuse::Session>(adapter_, settings_);
  names_.on_link_change([this](const std::string& path, const std::string& link) { fs_.link_changed(path, link); });
  if (!options.metrics.empty() && succession_.predecessor() == nullptr) {
    open_metrics();
  }
}

ServedDirectory::~ServedDirectory() {
  if (!names_.stop(std::chrono::seconds(5))) {
    std::_Exit(EXIT_FAILURE);  // a search waits for a disk
  }
}

MountFacts ServedDirectory::first_facts() const {
  MountFacts facts;
  facts.package = kServeSource;
  facts.mountpoint = mountpoint_;
  facts.pid = ::getpid();
  facts.since = since_;
  if (const Predecessor* const before = succession_.predecessor(); before != nullptr) {
    facts.generation = before->record.generation;
    facts.last_end = before->record.last_end;
  }
  return facts;
}

MountFacts ServedDirectory::facts() {
  MountFacts facts;
  {
    const MutexLock lock(facts_mutex_);
    facts = facts_;
  }
  for (const std::shared_ptr<vfs::HeldTree>& tree : fs_.open_trees()) {
    facts.packages.push_back(static_cast<const HeldPackage&>(*tree).packages().id.to_string());
  }
  succession_.describe(facts);
  return facts;
}

MountRecord ServedDirectory::record() {
  const MutexLock lock(facts_mutex_);
  return record_of(options_, facts_, succession_.predecessor());
}

void ServedDirectory::open_metrics() {
  metrics_.emplace(options_.metrics,
                   [this] { return metrics_text(facts(), statistics_.snapshot(), lazy_state(lazy_sources())); });
  const MutexLock lock(facts_mutex_);
  facts_.metrics = metrics_->address();
}

std::vector<std::shared_ptr<LazySource>> ServedDirectory::lazy_sources() const {
  std::vector<std::shared_ptr<LazySource>> all;
  for (const std::shared_ptr<vfs::HeldTree>& tree : fs_.open_trees()) {
    const auto& sources = static_cast<const HeldPackage&>(*tree).lazy_sources();
    all.insert(all.end(), sources.begin(), sources.end());
  }
  return all;
}

fuse::AdapterOptions ServedDirectory::shown() {
  fuse::AdapterOptions options = adapter_options(
      options_, [] { return fuse::Usage{}; }, nullptr, cpu_latency_, succession_.is_kept(),
      [this] { return stats_json(facts(), statistics_.snapshot(), lazy_state(lazy_sources())); });
  options.live_timeout = 1;  // of names
  options.passthrough = false;
  return options;
}

void ServedDirectory::make_journal() {
  try {
    journal_ = std::make_unique<DirectoryJournal>();
    fs_.use_journal(*journal_, {});
  } catch (const Error& error) {
    succession_.keep_nothing(error.message());
  }
}

void ServedDirectory::go_on() {
  succession_.go_on(*session_, statistics_);
  UniqueFd journal = journal_of(succession_.predecessor()->record);
  journal_ = succession_.replaces() ? DirectoryJournal::copy_of(std::move(journal))
                                    : std::make_unique<DirectoryJournal>(std::move(journal));
  fs_.use_journal(*journal_, journal_->notes());
}

void ServedDirectory::start_serving() {
  succession_.start(*session_, statistics_,
                    {.record = record(),
                     .parts = parts(),
                     .servers = server_options(options_, nullptr),
                     .tree = fs_,
                     .ids = nullptr,
                     .serve_alone = [this] {
                       if (journal_ != nullptr) {
                         fs_.is_alone_now();
                         journal_->is_alone_now();
                       }
                     }});
}

void ServedDirectory::tell_ready(const std::function<void(const std::string&)>& ready) {
  const bool is_new = succession_.predecessor() == nullptr;
  if (!is_new && !options_.metrics.empty()) {
    open_metrics_again([this] { open_metrics(); });
  }
  if (metrics_) {
    metrics_->start();
    log::info("metrics are served at {}", metrics_->address());
  }
  start_cpu_latency(cpu_latency_, options_.cpu_latency);  // before `ready`: it may have to warn the user
  const std::string message = "packages are served at \"" + mountpoint_ + "\"";
  if (is_new) {
    log::info("{}", message);
    ready(message);
  }
  manager_.ready(message);
}

void ServedDirectory::start_helpers() {
  succession_.confirm();
  if (succession_.keeping() == Keeping::kServiceManager) {
    CrashReports::note_crashes();
    if (const std::string why = succession_.store(manager_, record(), parts()); !why.empty()) {
      warn_not_kept(why);
    }
  }
  succession_.watch_predecessor(watch_, *session_, [] {});
  set_read_ahead(succession_.guards().device(), options_.read_ahead);
  if (const std::string why = succession_.guards().need(); !why.empty()) {
    log::info("\"{}\" has no guardian, so programs may hang if the daemon is killed: {}", mountpoint_, why);
  }
}

int ServedDirectory::serve(const std::function<void(const std::string&)>& ready) {
  if (succession_.predecessor() != nullptr) {
    go_on();
  } else {
    if (succession_.is_kept()) {
      make_journal();
    }
    if (!succession_.begin(watch_, *session_, settings_, options_.mountpoint)) {
      return end(to_exit_code(ErrorCode::kInterrupted));
    }
  }
  succession_.keep_requests(*session_);
  start_serving();
  closer_.emplace(fs_, *session_, adapter_, succession_.state(), *options_.idle);
  try {
    closer_->start();  // without it, no search would ever end by the time
  } catch (const std::system_error& error) {
    throw Error(ErrorCode::kMount, {"Unable to serve \"" + mountpoint_ + "\": no thread can be started",
                                    start_text(error.code().value())});
  }
  tell_ready(ready);
  start_helpers();
  const int signal = watch_.wait_for_end(*session_, settings_, manager_, succession_.guards());
  log::info("\"{}\" ends: {}", mountpoint_, signal == 0 ? "unmounted" : "a signal asked for it");
  return end(kExitOk);
}

int ServedDirectory::end(int exit_code) {
  manager_.stopping();
  succession_.let_go(manager_);
  const bool closer_ended = !closer_ || closer_->stop(kReplyLimit);
  const bool stopped = session_->stop(kReplyLimit) && closer_ended;
  if (!names_.stop(kReplyLimit) || !stopped) {
    log::warn("\"{}\": a request or a search was still going on after {} s; it fails", mountpoint_,
              kReplyLimit.count());
    metrics_.reset();
    std::_Exit(exit_code);
  }
  return exit_code;
}

}  // namespace pkgfs
