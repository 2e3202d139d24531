// SPDX-License-Identifier: MIT
// The members of ServedMount for other versions of the package.
#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/system_limits.h"
#include "daemon/mount/control.h"
#include "daemon/mount/mount_settings.h"
#include "daemon/mount/served_mount.h"
#include "daemon/packages/kept_tree.h"
#include "daemon/packages/own_source.h"

namespace pkgfs {

void ServedMount::prepare_refresher() {
  if (versions_.generations() != nullptr) {
    adapter_.use_generations(*versions_.generations());
  }
  const auto check = [this](const OpenedTree& opened) {
    vfs::FileSystem& tree = *opened.tree.file_system;
    if (const std::string why = refresh_obstacle(tree, false); !why.empty()) {
      throw Error(ErrorCode::kUnsupported, "the mount can't show what the package means now: " + why);
    }
    if (tree.is_immutable() != tree_.is_immutable()) {
      throw Error(ErrorCode::kUnsupported, "the files of the new version can change, and those of the mount can't");
    }
    if (succession_.is_kept() && !can_keep(opened)) {
      throw Error(ErrorCode::kUnsupported, "another daemon couldn't open the new version, and the mount has a keeper");
    }
  };
  const auto before_first = [this] {
    constexpr auto kStopLimit = std::chrono::seconds(1);
    if (used_prefetcher_ != nullptr && !session_.stop_prefetching(kStopLimit)) {
      throw Error(ErrorCode::kBusy, "the prefetch of a file is still going on");
    }
    used_prefetcher_ = nullptr;  // it knows one tree
  };
  const auto shows = [this](const VersionsShown& versions) {
    std::vector<std::string> packages = ids_of(versions_.shown().tree.packages);
    const MutexLock lock(facts_mutex_);
    facts_.versions = versions;
    facts_.packages = std::move(packages);
  };
  refresher_.emplace(
      fresh_, versions_,
      Refresher::Options{.follow = options_.follow, .keep_old = options_.keep_old, .on_change = options_.on_change},
      Refresher::Mount{.mountpoint = mountpoint_,
                       .session = session_,
                       .adapter = adapter_,
                       .state = succession_.state(),
                       .closes_old = !options_.io_uring,
                       .obstacle = writable_ ? "changes lie above it, which were made for these packages (--writable)"
                                             : refresh_obstacle(tree_, follower_.has_value()),
                       .check = check,
                       .before_first = before_first,
                       .keep = [this] { return keep_again(); },
                       .shows = shows,
                       .shown_changed = [this] { suit_shown(); },
                       .first_is_closed = [this] { return take_first_lazy(); },
                       .on_main = [this](std::function<void()> task) { watch_.post(std::move(task)); }});
}

void ServedMount::begin_refreshing() {
  if (succession_.guards().device().empty()) {
    log::debug("\"{}\" can't be refreshed: another mount covers it", mountpoint_);
    return;
  }
  control_ = listen_for_control(succession_.guards().connection());
  const int error = control_ ? 0 : errno;
  const Predecessor* const before = succession_.predecessor();
  const bool is_held = error == EADDRINUSE && (before == nullptr || !before->process);
  if (error != 0) {
    log::debug("\"pkgfs refresh\" can't reach \"{}\" yet: {}", mountpoint_, errno_text(error));
  }
  if (is_made_to_be_refreshed(options_) || versions_.generations() != nullptr || is_held) {
    start_refresher();  // it tries again to listen
  } else if (control_) {
    watch_.call_when_readable(control_.get(), [this] { start_refresher(); });  // most mounts need no such thread
  }
}

void ServedMount::start_refresher() {
  if (refresher_->is_running()) {
    return;
  }
  std::string why = succession_.guards().need();  // the thread may wait in the kernel
  try {
    if (why.empty()) {
      refresher_->start(std::move(control_), succession_.guards().device(),
                        succession_.predecessor() != nullptr && versions_.generations() != nullptr);
      return;
    }
  } catch (const std::system_error& error) {
    why = start_text(error.code().value());
  }
  log::warn("\"{}\" can't be refreshed: {}", mountpoint_, why);
  control_.reset();
}

std::string ServedMount::keep_again() {
  if (succession_.has_keeper()) {
    return succession_.guards().renew();
  }
  return succession_.keeping() == Keeping::kServiceManager ? succession_.store(manager_, record(), parts())
                                                           : std::string();
}

std::unique_ptr<LazyMount> ServedMount::take_first_lazy() {
  if (lazy_->is_lazy()) {
    watch_.forget(lazy_->whole_fd());
  }
  const MutexLock lock(facts_mutex_);
  return std::move(lazy_);
}

std::vector<std::shared_ptr<LazySource>> ServedMount::lazy_sources() {
  if (auto shown = versions_.lazy_sources()) {
    return *std::move(shown);
  }
  const MutexLock lock(facts_mutex_);
  return lazy_ ? lazy_->sources() : std::vector<std::shared_ptr<LazySource>>();
}

}  // namespace pkgfs
