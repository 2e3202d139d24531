// SPDX-License-Identifier: MIT
#include "daemon/mount/manifest_follower.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/vfs/host_watcher.h"

namespace pkgfs {
namespace {

constexpr std::size_t kWatches = 2;  // the package and its parent directory
constexpr std::uint64_t kWatch = 1;
/// How often the manifest is read where it can't be watched, as on network file systems.
constexpr auto kPoll = std::chrono::seconds(1);
/// Between two attempts with the same manifest. Twice as long after each failure.
constexpr auto kShortestWait = std::chrono::seconds(1);
constexpr auto kLongestWait = std::chrono::seconds(60);

class Suspicion final : public vfs::NameListener {
 public:
  void suspect() noexcept override { is_due_ = true; }
  void look() noexcept override {}
  [[nodiscard]] bool take() { return is_due_.exchange(false); }

 private:
  std::atomic<bool> is_due_{false};
};

}  // namespace

ManifestFollower::ManifestFollower(FollowedTree& tree, std::function<void(const PackageTree&)> check,
                                   std::function<void()> taken)
    : tree_(tree), check_(std::move(check)), taken_(std::move(taken)), ended_(done_.get_future()) {}

ManifestFollower::~ManifestFollower() {
  if (!stop(std::chrono::seconds(5))) {
    std::_Exit(EXIT_FAILURE);  // the thread waits for a disk and uses this object
  }
}

void ManifestFollower::start(std::uint64_t own_device) {
  own_device_ = own_device;
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) {
    throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  thread_ = std::thread([this] {
    run();
    done_.set_value();
  });
}

bool ManifestFollower::stop(std::chrono::milliseconds limit) {
  if (!thread_.joinable()) {
    return true;
  }
  stopping_ = true;
  tree_.cancel();
  (void)::eventfd_write(wake_.get(), 1);
  if (ended_.wait_for(limit) != std::future_status::ready) {
    return false;
  }
  thread_.join();
  return true;
}

void ManifestFollower::run() {
  vfs::HostWatcher watcher(kWatches);
  const auto suspicion = std::make_shared<Suspicion>();
  std::array<pollfd, 2> waited{{{.fd = watcher.descriptor(), .events = POLLIN, .revents = 0},
                                {.fd = wake_.get(), .events = POLLIN, .revents = 0}}};
  bool watched = false;
  while (!stopping_) {
    // The directory may be another one now. It is watched before the look, so that no change is missed in between.
    if (suspicion->take() || !watched) {
      watcher.remove(kWatch);
      watched = tree_.package().watch(watcher, kWatch, suspicion);
    }
    look();
    tidy();
    int wait = pause();
    if (!watched) {
      constexpr int kStep = std::chrono::milliseconds(kPoll).count();
      wait = wait < 0 ? kStep : std::min(wait, kStep);
    }
    if (::poll(waited.data(), waited.size(), wait) < 0 && errno != EINTR) {
      log::warn("changes of the manifest are no longer noticed: poll: {}", std::generic_category().message(errno));
      return;
    }
    watcher.collect([](const vfs::HostChange&) {});
    watcher.ask_listeners();
  }
}

void ManifestFollower::tidy() {
  if (tidied_ < kTidy.size() && Clock::now() >= taken_at_ + kTidy.at(tidied_)) {
    tree_.drop_former();
    ++tidied_;
  }
}

int ManifestFollower::pause() const {
  auto next = Clock::time_point::max();
  if (failed_) {
    next = next_attempt_;
  }
  if (tidied_ < kTidy.size()) {
    next = std::min(next, taken_at_ + kTidy.at(tidied_));
  }
  if (next == Clock::time_point::max()) {
    return -1;
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
  return static_cast<int>(std::max(left.count(), decltype(left)::rep{0}));
}

void ManifestFollower::look() {
  std::optional<Sha256> now;
  try {
    now = tree_.package().manifest_hash();
  } catch (const std::exception& error) {
    log::debug("the manifest of \"{}\" can't be read now: {}", tree_.package().name(), error);
  }
  if (!now) {
    return;  // a program is writing it: that ends with another change
  }
  if (*now == tree_.manifest_hash()) {
    failed_.reset();
  } else if (now != failed_ || Clock::now() >= next_attempt_) {
    reload(*now);
  }
}

void ManifestFollower::reload(const Sha256& manifest) {
  const std::string& name = tree_.package().name();
  try {
    tree_.reload(own_device_, check_);
    failed_.reset();
    reason_.clear();
    taken_at_ = Clock::now();
    tidied_ = 0;
    taken_();
    log::info("\"{}/wasmer.toml\" has changed: the mount shows the package as it describes it now", name);
  } catch (const std::exception& failure) {
    if (stopping_) {
      return;
    }
    if (failed_ != manifest || reason_ != failure.what()) {
      log::warn("\"{}/wasmer.toml\" has changed, but the mount stays as it was: {}", name, failure);
    }
    wait_ = failed_ == manifest ? std::min<std::chrono::seconds>(2 * wait_, kLongestWait) : kShortestWait;
    next_attempt_ = Clock::now() + wait_;
    failed_ = manifest;
    reason_ = failure.what();
  }
}

}  // namespace pkgfs
