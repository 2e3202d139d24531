// SPDX-License-Identifier: MIT
#include "core/vfs/host_root.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <memory>
#include <utility>

#include "core/base/log.h"
#include "core/vfs/host_status.h"
#include "core/vfs/host_watcher.h"

namespace pkgfs::vfs {
namespace {

std::int64_t seconds_since_boot() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec;
}

bool are_same(const UniqueFd& a, const UniqueFd& b) {
  const Result<struct statx> first = status_of(a);
  const Result<struct statx> second = status_of(b);
  return first && second && first->stx_ino == second->stx_ino && first->stx_dev_major == second->stx_dev_major &&
         first->stx_dev_minor == second->stx_dev_minor && generation_of(a, *first) == generation_of(b, *second);
}

}  // namespace

/// Takes note that the path may lead elsewhere.
class HostRoot::Suspicion final : public NameListener {
 public:
  /// Call it before a watcher knows this.
  void of(const std::weak_ptr<HostRoot>& root) {
    const MutexLock lock(mutex_);
    root_ = root;
  }
  void suspect() noexcept override { is_due_.store(true, std::memory_order_release); }
  void look() noexcept override {
    std::shared_ptr<HostRoot> root;
    {
      const MutexLock lock(mutex_);
      root = root_.lock();
    }
    try {
      if (root != nullptr) {
        root->follow();
      }
    } catch (const std::exception&) {
      suspect();  // no memory: the next access follows the path
    }
  }
  [[nodiscard]] bool is_due() const { return is_due_.load(std::memory_order_acquire); }
  void end() { is_due_.store(false, std::memory_order_release); }

 private:
  Mutex mutex_;
  std::weak_ptr<HostRoot> root_ PKGFS_GUARDED_BY(mutex_);
  std::atomic<bool> is_due_{false};
};

HostRoot::HostRoot(UniqueFd fd, std::string name, std::shared_ptr<const HostFilter> filter,
                   std::shared_ptr<const HostWay> way)
    : fd_(std::move(fd)),
      name_(std::move(name)),
      filters_(filter != nullptr),
      filter_(std::move(filter)),
      way_(std::move(way)),
      suspicion_(way_ == nullptr ? nullptr : std::make_shared<Suspicion>()),
      followed_at_(seconds_since_boot()) {}

HostRoot::~HostRoot() = default;

bool HostRoot::hides(std::string_view path, FileType type) const {
  return filters_ && filter_.load()->hidden(path, type == FileType::kDirectory);
}

void HostRoot::follow() {
  if (way_ != nullptr && (suspicion_->is_due() || is_missing())) {
    follow_path();
  }
}

void HostRoot::follow_if_old() {
  if (way_ != nullptr &&
      (suspicion_->is_due() || is_missing() || followed_at_.load(std::memory_order_relaxed) != seconds_since_boot())) {
    follow_path();
  }
}

bool HostRoot::follow_if_removed() {
  struct stat status{};
  if (way_ == nullptr || ::fstat(fd(), &status) != 0 || status.st_nlink != 0) {
    return false;
  }
  follow_path();
  return !is_missing() && ::fstat(fd(), &status) == 0 && status.st_nlink != 0;
}

void HostRoot::watch(HostWatcher& watcher, std::uint64_t watch) {
  if (way_ != nullptr) {
    watcher_.store(&watcher, std::memory_order_release);
    suspicion_->of(weak_from_this());
    way_->watch(watcher, watch, suspicion_);
    follow_path();  // the path may have changed before it was watched
  }
}

void HostRoot::follow_path() {
  const MutexLock lock(mutex_);
  suspicion_->end();  // before the look: a change during it is another reason to look
  followed_at_.store(seconds_since_boot(), std::memory_order_relaxed);
  const UniqueFd found = way_->open();
  if (!found) {
    if (!leads_nowhere(errno)) {
      suspicion_->suspect();  // the next access may find out
    } else if (!missing_.exchange(true)) {
      log::info("the directory \"{}\" is gone: it shows as empty until there is one again", name_);
      tell_of_replacement();
    }
    return;
  }
  const bool same = are_same(fd_, found);
  if (same && !is_missing()) {
    return;
  }
  const std::shared_ptr<const HostFilter> old = filters_ ? filter_.load() : nullptr;
  if (filters_) {
    filter_.store(way_->filter(found.get()));
  }
  // Other threads use the number meanwhile: each gets the old directory or the new one.
  if (!same && ::dup3(found.get(), fd(), O_CLOEXEC) < 0) {
    filter_.store(old);
    suspicion_->suspect();
    return;
  }
  missing_.store(false, std::memory_order_release);
  if (!same) {
    log::info("the directory \"{}\" was replaced: the new one shows", name_);
  }
  tell_of_replacement();
}

void HostRoot::tell_of_replacement() {
  if (HostWatcher* const watcher = watcher_.load(std::memory_order_acquire); watcher != nullptr) {
    watcher->replaced();
  }
}

}  // namespace pkgfs::vfs
