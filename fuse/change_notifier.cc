// SPDX-License-Identifier: MIT
#include "fuse/change_notifier.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <new>
#include <system_error>
#include <utility>

#include "core/base/log.h"
#include "core/vfs/host_watcher.h"
#include "core/vfs/kept_files.h"
#include "fuse/newer_libfuse.h"

namespace pkgfs::fuse {
namespace {

constexpr int kNoMemory = 1000;    // milliseconds until the next attempt
constexpr int kNoPriority = 1000;  // the same to take the priority back
constexpr int kFilesKept = 1000 * static_cast<int>(vfs::KeptFiles::kSeconds);

}  // namespace

ChangeNotifier::ChangeNotifier(vfs::FileSystem& fs, Statistics& statistics, Adapter& adapter)
    : fs_(fs), changes_(*fs.changes()), statistics_(statistics), adapter_(adapter), ended_(done_.get_future()) {}

ChangeNotifier::~ChangeNotifier() {
  if (!stop(std::chrono::seconds(5))) {
    std::_Exit(EXIT_FAILURE);  // the thread is stuck in the kernel and uses this object
  }
}

void ChangeNotifier::start(fuse_session* session, bool can_expire) {
  can_expire_ = can_expire;
  auto watcher = std::make_unique<vfs::HostWatcher>();
  if (watcher->error() != 0) {
    throw std::system_error(watcher->error(), std::generic_category(), "inotify_init1");
  }
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) {
    throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  thread_ = std::thread([this, session, queue = watcher->descriptor()] {
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
  WakeUpFirst first;
  int pause = -1;  // milliseconds
  send_restored(session, first);
  while (!stopping_) {
    if (::poll(waited.data(), waited.size(), pause) < 0 && errno != EINTR) {
      log::warn("changes of the host are no longer noticed: poll: {}", std::generic_category().message(errno));
      return;
    }
    eventfd_t ignored = 0;
    (void)::eventfd_read(wake_.get(), &ignored);
    first.working();
    changes_.collect();
    const bool all_told = changes_.deliver([&](const vfs::Notice& notice) {
      if (stopping_) {
        return;  // the kernel needs no notice of what is unmounted
      }
      first.working();
      send(session, notice);
    });
    const bool keeps_files = changes_.end_old_files();
    first.working();
    pause = !all_told ? kNoMemory : first.gave_up() ? kNoPriority : keeps_files ? kFilesKept : -1;
  }
}

void ChangeNotifier::send_restored(fuse_session* session, WakeUpFirst& first) {
  if (adapter_.live_ids() == nullptr) {
    return;
  }
  try {
    for (const LiveIds::Restored& node : adapter_.live_ids()->take_restored()) {
      if (stopping_) {
        return;
      }
      first.working();
      if (can_expire_) {
        expire_entry(session, node.parent, node.name);
      }
      (void)fuse_lowlevel_notify_inval_inode(session, node.id, 0, 0);
    }
    (void)fuse_lowlevel_notify_inval_inode(session, FUSE_ROOT_ID, 0, 0);
  } catch (const std::bad_alloc&) {
    log::warn("too little memory to tell the kernel of what changed while no daemon ran");
  }
}

void ChangeNotifier::send(fuse_session* session, const vfs::Notice& notice) {
  LiveIds* const ids = adapter_.live_ids();
  const fuse_ino_t node = ids != nullptr               ? ids->find(notice.inode)
                          : notice.inode == fs_.root() ? FUSE_ROOT_ID
                                                       : notice.inode;
  if (node == 0) {
    return;
  }
  // ENOENT, the kernel doesn't know it, is the usual answer for what no program has looked at.
  if (notice.expire) {
    if (!can_expire_) {
      return;  // the entry is found anew after a minute at most
    }
    expire_entry(session, node, notice.name);
  } else if (notice.name.empty()) {
    (void)fuse_lowlevel_notify_inval_inode(session, node, 0, 0);
  } else {
    (void)fuse_lowlevel_notify_inval_entry(session, node, notice.name.data(), notice.name.size());
  }
  statistics_.add_notice();
}

}  // namespace pkgfs::fuse
