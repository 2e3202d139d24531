// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/vfs/served_file_system.h"
#include "daemon/serve/close_attempts.h"
#include "fuse/adapter.h"
#include "fuse/session.h"
#include "fuse/shared_state.h"

namespace pkgfs {

/// The thread that closes the trees of a served directory which no program has used for some time. It first asks the
/// kernel to forget what no program uses of such a tree. It also ends look-ups that wait for too long, and lets
/// the kernel forget listings of directories of names. As it may wait
/// in the kernel, a process must run that can abort the connection.
class TreeCloser {
 public:
  /// All must outlive this.
  TreeCloser(vfs::ServedFileSystem& fs, fuse::Session& session, fuse::Adapter& adapter, const fuse::SharedState& state,
             std::chrono::milliseconds idle)
      : fs_(fs), session_(session), adapter_(adapter), state_(state), idle_(idle), attempts_(idle) {}
  /// Ends the process if the thread doesn't end within some seconds.
  ~TreeCloser();
  TreeCloser(const TreeCloser&) = delete;
  TreeCloser& operator=(const TreeCloser&) = delete;

  /// Throws std::system_error.
  void start();
  /// False: the thread didn't end within `limit`.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

 private:
  using Clock = vfs::ServedFileSystem::Clock;
  void run();
  [[nodiscard]] Clock::duration pause() const;
  void tidy(const vfs::ServedFileSystem::OpenSlot& open);
  void let_go(const vfs::ServedFileSystem::OpenSlot& open);
  /// Asks the kernel to forget all nodes of a tree that no program uses.
  void prune(const vfs::ServedFileSystem::OpenSlot& open);
  void close(const vfs::ServedFileSystem::OpenSlot& open);
  /// Waits until the requests have ended that are being answered now. False: one hadn't at the deadline.
  [[nodiscard]] bool wait_for_requests(Clock::time_point deadline) const;
  /// The names that the kernel knows to be absent from the tree. `are_all` becomes false if some aren't known.
  [[nodiscard]] std::vector<vfs::AbsentNames::Absent> absent_of(std::size_t slot, bool& are_all);

  vfs::ServedFileSystem& fs_;
  fuse::Session& session_;
  fuse::Adapter& adapter_;
  const fuse::SharedState& state_;
  std::chrono::milliseconds idle_;
  CloseAttempts attempts_;                                 // of the thread
  std::vector<std::unique_ptr<vfs::AbsentNames>> absent_;  // requests may add names to them; of the thread
  std::atomic<bool> stopping_{false};
  Mutex mutex_;
  std::condition_variable wake_;
  std::promise<void> done_;
  std::future<void> ended_ = done_.get_future();
  std::thread thread_;
};

}  // namespace pkgfs
