// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/base/unique_fd.h"
#include "fuse/adapter.h"

struct fuse_session;

namespace pkgfs::fuse {

struct MountSettings {
  std::string mountpoint;  // absolute
  std::string source;      // what df and findmnt show as the device
  bool allow_other = false;
  bool auto_unmount = false;       // fusermount3 stays and unmounts when we die
  bool debug = false;              // libfuse prints every request
  std::vector<std::string> extra;  // more `-o` words for the kernel, e.g. noexec
};

/// One FUSE mount and the threads that serve it.
///
/// Own threads instead of libfuse's loop: in libfuse 3.14 nothing wakes that one when it is asked to end
/// (fuse_session_exit only sets a flag). Ours are woken by a signal until they notice.
class Session {
 public:
  /// Creates the session; nothing is mounted yet. Throws Error(kMount).
  Session(Adapter& adapter, const MountSettings& settings);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Mounts, always `ro,nosuid,nodev,noatime,default_permissions`. Throws Error(kMount) with what libfuse said.
  void mount();
  /// Starts `threads` threads that answer requests, and `pusher` (may be null; must outlive the session). Signals that
  /// the caller handles must be blocked before.
  void start(unsigned threads, ContentPusher* pusher);
  /// True once the kernel's INIT was answered; waits up to `limit` for it.
  [[nodiscard]] bool wait_ready(std::chrono::milliseconds limit) const;
  /// Becomes readable when every thread has ended, as they do when somebody unmounts.
  [[nodiscard]] int ended_fd() const { return ended_.get(); }
  /// Ends the threads, waiting up to `limit` for those that are in the middle of a request, and unmounts; files that
  /// are still open get errors from then on. False: a thread didn't end; the process should.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

 private:
  void serve();

  Adapter& adapter_;
  MountSettings settings_;
  fuse_session* session_ = nullptr;
  bool mounted_ = false;
  UniqueFd ended_;
  std::atomic<unsigned> running_{0};
  std::vector<std::thread> threads_;
  ContentPusher* pusher_ = nullptr;
};

/// Why a mount can't work here, before it's tried: no /dev/fuse or no access to it. Throws Error(kMount or
/// kPermission).
void check_device();

}  // namespace pkgfs::fuse
