// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "fuse/adapter.h"
#include "fuse/servers.h"

struct fuse_session;

namespace pkgfs::fuse {

struct MountSettings {
  std::string mountpoint;  // absolute
  std::string source;      // what df and findmnt show as the device
  bool allow_other = false;
  bool auto_unmount = false;       // fusermount3 stays and unmounts when we die
  bool debug = false;              // libfuse prints every request
  bool io_uring = false;           // libfuse's threads, a queue for each CPU, take the requests
  std::vector<std::string> extra;  // more `-o` words for the kernel, e.g. noexec
};

/// One FUSE mount and the threads that serve it.
class Session {
 public:
  /// Creates the session; nothing is mounted yet. Throws Error(kMount).
  Session(Adapter& adapter, const MountSettings& settings);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Mounts, always `ro,nosuid,nodev,noatime,default_permissions`. Throws Error(kMount) with what libfuse said.
  void mount();
  /// Becomes readable when the kernel has sent its first request, as it does right after `mount`.
  [[nodiscard]] int device_fd() const;
  /// Answers that first request. False: the kernel doesn't talk to us.
  [[nodiscard]] bool answer_first();
  /// Starts the threads that answer all others. Signals that the caller handles must be blocked before.
  void start(const ServerOptions& servers);
  /// Starts `pusher`, which must outlive the session, after `start`. `device`: the minor number of the mount's device.
  /// A process that is killed while it works may hang with everybody who uses the mount, until somebody aborts the
  /// connection: somebody must be there to do so.
  /// Throws std::system_error if there is no thread for it.
  void start_pushing(ContentPusher& pusher, unsigned device);
  /// Ends it again. False: it didn't end within `limit`.
  [[nodiscard]] bool stop_pushing(std::chrono::milliseconds limit);
  /// Becomes readable when every thread has ended, as they do when somebody unmounts.
  [[nodiscard]] int ended_fd() const { return servers_->ended_fd(); }
  /// Ends the threads, waiting up to `limit` for those that are in the middle of a request, and unmounts; files that
  /// are still open get errors from then on. False: a thread didn't end; the process should.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

 private:
  [[nodiscard]] bool end_rings(std::chrono::milliseconds limit);

  Adapter& adapter_;
  MountSettings settings_;
  fuse_session* session_ = nullptr;
  bool mounted_ = false;
  bool rings_ = false;                // libfuse may have started its threads for io_uring
  std::unique_ptr<Servers> servers_;  // since `start`
  ContentPusher* pusher_ = nullptr;
};

/// Why a mount can't work here, before it's tried: no /dev/fuse or no access to it. Throws Error(kMount or
/// kPermission).
void check_device();

}  // namespace pkgfs::fuse
