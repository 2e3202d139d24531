// SPDX-License-Identifier: MIT
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/base/thread_annotations.h"
#include "core/vfs/served_file_system.h"

namespace pkgfs::fuse {

/// Requests that wait until a name was searched for or a tree was opened (vfs::ServedFileSystem). They occupy no
/// thread: the thread that has searched sends the reply. So any number of them may wait for a registry that is slow or
/// gone, while all other requests are answered. Thread-safe.
class WaitingLookups {
 public:
  WaitingLookups();
  /// Calls `stop`. Ends the process if a reply takes some seconds more.
  ~WaitingLookups();
  WaitingLookups(const WaitingLookups&) = delete;
  WaitingLookups& operator=(const WaitingLookups&) = delete;

  /// Takes over `req`, which needs `name` in `dir`, or the tree of `dir` if that is the root of one. When `fs` says
  /// that it is there, calls `answer`, which replies or calls `add` again. `number` is the number that the kernel gave
  /// the request. If the kernel has sent again a request that waits here, drops that one. Throws std::bad_alloc; then
  /// `req` is the caller's again.
  void add(fuse_req_t req, std::uint64_t number, vfs::ServedFileSystem& fs, vfs::Inode dir, const std::string& name,
           std::function<void()> answer);
  /// Replies EINTR to the request with this number. False: it isn't waiting here.
  bool interrupt(std::uint64_t number);
  /// Whether a reply is being made at the moment by a thread that isn't a server thread.
  [[nodiscard]] bool is_answering() const;
  /// Replies EIO to all waiting requests, and to those of later calls of `add`. After `stop` has returned true, no
  /// other thread uses a request that `add` took over. False: a reply was still being made after `limit`.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the callbacks that the file system holds
};

}  // namespace pkgfs::fuse
