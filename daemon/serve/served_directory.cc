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
#include "daemon/mount/mount_settings.h"
#include "daemon/mount/mountpoint.h"
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
                                 const std::string& mountpoint, ServiceManager& manager)
    : watch_(watch),
      names_(names),
      options_(options),
      mountpoint_(mountpoint),
      manager_(manager),
      fs_(names, {.immutable = options.tree.verify != Verify::kRead,
                  .patience = names.patience(),
                  .modified = now_in_seconds(),
                  .most_open = std::min(most_open(), names.most_open())}),
      state_(fuse::SharedState::unshared()),
      statistics_(state_),
      cpu_latency_(statistics_),
      facts_(first_facts()),
      adapter_(fs_, statistics_, shown()),
      settings_(mount_settings(options, facts_)) {
  adapter_.use_served(fs_);
  session_ = std::make_unique<fuse::Session>(adapter_, settings_);
  names_.on_link_change([this](const std::string& path, const std::string& link) { fs_.link_changed(path, link); });
  if (!options.metrics.empty()) {
    metrics_.emplace(options.metrics,
                     [this] { return metrics_text(facts(), statistics_.snapshot(), lazy_state(lazy_sources())); });
    facts_.metrics = metrics_->address();
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
  facts.since = now_in_seconds();
  return facts;
}

MountFacts ServedDirectory::facts() const {
  MountFacts facts = facts_;
  for (const std::shared_ptr<vfs::HeldTree>& tree : fs_.open_trees()) {
    facts.packages.push_back(static_cast<const HeldPackage&>(*tree).packages().id.to_string());
  }
  return facts;
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
      options_, [] { return fuse::Usage{}; }, nullptr, cpu_latency_, false,
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

int ServedDirectory::serve(const std::function<void(const std::string&)>& ready) {
  if (!begin()) {
    return end(to_exit_code(ErrorCode::kInterrupted));
  }
  session_->start(server_options(options_, nullptr));
  closer_.emplace(fs_, *session_, adapter_, state_, *options_.idle);
  try {
    closer_->start();  // without it, no search would ever end by the time
  } catch (const std::system_error& error) {
    throw Error(ErrorCode::kMount, {"Unable to serve \"" + mountpoint_ + "\": no thread can be started",
                                    start_text(error.code().value())});
  }
  if (metrics_) {
    metrics_->start();
  }
  start_cpu_latency(cpu_latency_, options_.cpu_latency);
  const std::string message = "packages are served at \"" + mountpoint_ + "\"";
  log::info("{}", message);
  ready(message);
  if (metrics_) {
    log::info("metrics are served at {}", metrics_->address());
  }
  manager_.ready(message);
  set_read_ahead(guards_->device(), options_.read_ahead);
  if (const std::string why = guards_->need(); !why.empty()) {
    log::info("\"{}\" has no guardian, so programs may hang if the daemon is killed: {}", mountpoint_, why);
  }
  const int signal = watch_.wait_for_end(*session_, settings_, manager_, *guards_);
  log::info("\"{}\" ends: {}", mountpoint_, signal == 0 ? "unmounted" : "a signal asked for it");
  return end(kExitOk);
}

int ServedDirectory::end(int exit_code) {
  manager_.stopping();
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
