// SPDX-License-Identifier: MIT
#include "fuse/change_notifier.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <utility>

#include "core/base/log.h"
#include "core/vfs/host_watcher.h"

namespace pkgfs::fuse {
namespace {

/// As of linux/sched/types.h, which can't be included together with sched.h.
struct SchedulingAttributes {
  std::uint32_t size = sizeof(SchedulingAttributes);
  std::uint32_t policy = SCHED_OTHER;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;  // nanoseconds
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};

/// Lets the calling thread run at once when it wakes up. It does little at a time, so that it takes nothing from other
/// programs. The lowest real-time priority needs CAP_SYS_NICE; a short time slice needs no right, but Linux 6.12.
void wake_up_first() {
  constexpr std::uint64_t kSlice = 100'000;  // nanoseconds, the shortest that the kernel allows
  const SchedulingAttributes real_time{.policy = SCHED_RR, .priority = 1};
  const SchedulingAttributes short_slice{.runtime = kSlice};
  if (::syscall(SYS_sched_setattr, 0, &real_time, 0) != 0) {
    (void)::syscall(SYS_sched_setattr, 0, &short_slice, 0);
  }
}

}  // namespace

ChangeNotifier::ChangeNotifier(vfs::FileSystem& fs, Statistics& statistics)
    : fs_(fs), changes_(*fs.changes()), statistics_(statistics), ended_(done_.get_future()) {}

ChangeNotifier::~ChangeNotifier() {
  if (!stop(std::chrono::seconds(5))) {
    std::_Exit(EXIT_FAILURE);  // the thread is stuck in the kernel and uses this object
  }
}

void ChangeNotifier::start(fuse_session* session) {
  auto watcher = std::make_unique<vfs::HostWatcher>();
  if (watcher->error() != 0) {
    throw std::system_error(watcher->error(), std::generic_category(), "inotify_init1");
  }
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) {
    throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  thread_ = std::thread([this, session, queue = watcher->descriptor()] {
    wake_up_first();
    run(session, queue);
    done_.set_value();
  });
  changes_.start(std::move(watcher), [this] { (void)::eventfd_write(wake_.get(), 1); });
  statistics_.count_live(changes_);
}

bool ChangeNotifier::stop(std::chrono::milliseconds limit) {
  if (!thread_.joinable()) {
    return true;
  }
  stopping_ = true;
  (void)::eventfd_write(wake_.get(), 1);
  if (ended_.wait_for(limit) != std::future_status::ready) {
    return false;
  }
  thread_.join();
  return true;
}

void ChangeNotifier::run(fuse_session* session, int queue) {
  std::array<pollfd, 2> waited{
      {{.fd = queue, .events = POLLIN, .revents = 0}, {.fd = wake_.get(), .events = POLLIN, .revents = 0}}};
  while (!stopping_) {
    if (::poll(waited.data(), waited.size(), -1) < 0 && errno != EINTR) {
      log::warn("changes of the host are no longer noticed: poll: {}", std::generic_category().message(errno));
      return;
    }
    eventfd_t ignored = 0;
    (void)::eventfd_read(wake_.get(), &ignored);
    changes_.collect();
    changes_.deliver([&](const vfs::Notice& notice) { send(session, notice); });
  }
}

void ChangeNotifier::send(fuse_session* session, const vfs::Notice& notice) {
  const fuse_ino_t node = notice.inode == fs_.root() ? FUSE_ROOT_ID : notice.inode;
  // ENOENT, the kernel doesn't know it, is the usual answer for what no program has looked at.
  if (notice.name.empty()) {
    (void)fuse_lowlevel_notify_inval_inode(session, node, 0, 0);
  } else {
    (void)fuse_lowlevel_notify_inval_entry(session, node, notice.name.data(), notice.name.size());
  }
  statistics_.add_notice();
}

}  // namespace pkgfs::fuse
