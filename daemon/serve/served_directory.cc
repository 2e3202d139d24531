// SPDX-License-Identifier: MIT
#include "daemon/serve/served_directory.h"

#include <fcntl.h>
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
#include "daemon/mount/guarding.h"
#include "daemon/mount/mount_settings.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/taking_over.h"
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
      predecessor_(std::move(predecessor)),
      since_(predecessor_ ? predecessor_->record.since : now_in_seconds()),
      fs_(names, {.immutable = options.tree.verify != Verify::kRead,
                  .patience = names.patience(),
                  .modified = since_,
                  .most_open = std::min(most_open(), names.most_open())}),
      keeping_(keeping_of(options, manager)),
      state_(state_of(predecessor_, keeping_)),
      early_keeper_(has_keeper(keeping_) && !predecessor_ ? KeeperProcess::start_early(mountpoint)
                                                          : std::future<KeeperProcess>()),
      statistics_(state_),
      cpu_latency_(statistics_),
      facts_(first_facts()),
      adapter_(fs_, statistics_, shown()),
      settings_(mount_settings(options, first_facts())) {
  adapter_.use_served(fs_);
  session_ = std::make_unique<fuse::Session>(adapter_, settings_);
  names_.on_link_change([this](const std::string& path, const std::string& link) { fs_.link_changed(path, link); });
  if (!options.metrics.empty() && !predecessor_) {
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
  if (predecessor_) {
    facts.generation = predecessor_->record.generation;
    facts.last_end = predecessor_->record.last_end;
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
  facts.kept = keeper_.has_value();
  facts.keeper = keeper_ ? keeper_->id() : 0;
  facts.keeperd = keeper_ && keeper_->is_registered();
  return facts;
}

MountRecord ServedDirectory::record() {
  const MutexLock lock(facts_mutex_);
  return record_of(options_, facts_, predecessor_);
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
      options_, [] { return fuse::Usage{}; }, nullptr, cpu_latency_, keeping_ != Keeping::kNothing,
      [this] { return stats_json(facts(), statistics_.snapshot(), lazy_state(lazy_sources())); });
  options.live_timeout = 1;  // of names
  options.passthrough = false;
  return options;
}

bool ServedDirectory::begin() {
  const UniqueFd claim = claim_mountpoint(options_.mountpoint, mountpoint_);
  session_->mount();
  if (!watch_.wait_until_ready(*session_, mountpoint_)) {
    return false;
  }
  const std::optional<MountEntry> own = find_own_mount(settings_);
  guards_.emplace(own ? own->device : std::string());
  return true;
}

void ServedDirectory::keep_nothing(const std::string& why) {
  warn_not_kept(why);
  keeping_ = Keeping::kNothing;
}

void ServedDirectory::make_journal() {
  try {
    journal_ = std::make_unique<DirectoryJournal>();
    fs_.use_journal(*journal_, {});
  } catch (const Error& error) {
    keep_nothing(error.message());
  }
}

void ServedDirectory::go_on() {
  guards_.emplace(predecessor_->record.device);
  const bool resends = !must_keep_requests(predecessor_->record.handshake);
  if (!resends) {
    requests_ = requests_of(*predecessor_);
  }
  take_over(*session_, *predecessor_, statistics_, resends);
  UniqueFd journal = journal_of(predecessor_->record);
  journal_ = predecessor_->runs ? DirectoryJournal::copy_of(std::move(journal))
                                : std::make_unique<DirectoryJournal>(std::move(journal));
  fs_.use_journal(*journal_, journal_->notes());
  if (predecessor_->control) {
    early_crashes_.emplace();  // the keeper of the daemon before is told of a crash until this daemon has one
    early_crashes_->start(UniqueFd(::fcntl(predecessor_->control.get(), F_DUPFD_CLOEXEC, 0)));
  }
}

void ServedDirectory::keep_requests() {
  if (requests_ != nullptr || keeping_ == Keeping::kNothing || !must_keep_requests(session_->handshake())) {
    return;
  }
  try {
    requests_ = fuse::RequestStore::create();
  } catch (const Error& error) {
    keep_nothing(error.message());
  }
}

void ServedDirectory::start_serving() {
  if (has_keeper(keeping_)) {
    make_keeper(keeper_, *guards_, record(), parts(),
                keeping_ == Keeping::kBackedKeeper ? keeperd_socket() : std::string(), std::move(early_keeper_));
  }
  const bool replaces = predecessor_ && predecessor_->runs;
  if (keeper_ && replaces) {
    replace_with(*keeper_, *predecessor_);
  }
  early_keeper_ = {};  // ends it if it isn't needed
  fuse::ServerOptions servers = server_options(options_, nullptr);
  servers.poisoned = poisoned_requests(state_, predecessor_, fs_, nullptr);
  servers.keep_requests = requests_.get();
  end_haste();
  session_->start(servers);
  if (predecessor_) {
    begin_serving(*predecessor_, statistics_);
  }
  if (!replaces) {
    serve_alone();
  }
  if (keeper_) {
    guards_->use(*keeper_, *session_, replaces);
  }
  if (replaces) {
    end_predecessor(*predecessor_);
    serve_alone();
  }
  if (keeper_) {
    keeper_->has_replaced();
    guards_->back_up();
  }
  early_crashes_.reset();
  if (predecessor_) {
    tell_keeper(*predecessor_, state_);  // at once: if this daemon is killed now, two keepers would act
  }
}

void ServedDirectory::serve_alone() {
  if (journal_ != nullptr) {
    journal_->is_alone_now();
  }
  if (requests_) {
    requests_->serve();
  }
}

void ServedDirectory::tell_ready(const std::function<void(const std::string&)>& ready) {
  if (predecessor_ && !options_.metrics.empty()) {
    open_metrics_again([this] { open_metrics(); });
  }
  if (metrics_) {
    metrics_->start();
    log::info("metrics are served at {}", metrics_->address());
  }
  const std::string message = "packages are served at \"" + mountpoint_ + "\"";
  if (!predecessor_) {
    log::info("{}", message);
    ready(message);
  }
  start_cpu_latency(cpu_latency_, options_.cpu_latency);
  manager_.ready(message);
}

void ServedDirectory::start_helpers() {
  guards_->confirm();
  if (keeping_ == Keeping::kServiceManager) {
    CrashReports::note_crashes();
    MountRecord kept = record();
    kept.device = guards_->device();
    if (const std::string why = store_mount(manager_, std::move(kept), parts()); !why.empty()) {
      warn_not_kept(why);
    }
  }
  if (predecessor_ && predecessor_->process) {
    // A thread of it that only ends now may have taken a request after the kernel was asked to send all again.
    watch_.call_when_readable(predecessor_->process.get(), [this] {
      session_->take_back();
      predecessor_->process.reset();
    });
  }
  set_read_ahead(guards_->device(), options_.read_ahead);
  if (const std::string why = guards_->need(); !why.empty()) {
    log::info("\"{}\" has no guardian, so programs may hang if the daemon is killed: {}", mountpoint_, why);
  }
}

int ServedDirectory::serve(const std::function<void(const std::string&)>& ready) {
  if (predecessor_) {
    go_on();
  } else {
    if (keeping_ != Keeping::kNothing) {
      make_journal();
    }
    if (!begin()) {
      return end(to_exit_code(ErrorCode::kInterrupted));
    }
  }
  keep_requests();
  start_serving();
  closer_.emplace(fs_, *session_, adapter_, state_, *options_.idle);
  try {
    closer_->start();  // without it, no search would ever end by the time
  } catch (const std::system_error& error) {
    throw Error(ErrorCode::kMount, {"Unable to serve \"" + mountpoint_ + "\": no thread can be started",
                                    start_text(error.code().value())});
  }
  tell_ready(ready);
  start_helpers();
  const int signal = watch_.wait_for_end(*session_, settings_, manager_, *guards_);
  log::info("\"{}\" ends: {}", mountpoint_, signal == 0 ? "unmounted" : "a signal asked for it");
  return end(kExitOk);
}

int ServedDirectory::end(int exit_code) {
  manager_.stopping();
  if (keeper_) {
    keeper_->let_go();
  } else if (keeping_ == Keeping::kServiceManager) {
    manager_.forget_stored();
  }
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
