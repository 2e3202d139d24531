// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <future>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/unique_fd.h"
#include "daemon/mount/guarding.h"

namespace pkgfs {

/// The path of the program `pkgfs-keeper`; empty if there is none.
[[nodiscard]] std::string keeper_program();

/// A child process that runs `pkgfs-keeper`; empty: none. The destructor ends it. Only the main thread may use it.
class KeeperProcess {
 public:
  /// What the process holds of a mount.
  struct Mount {
    std::string connection;  // "53"
    std::string mountpoint;
    std::string successions;     // for keeper::kSuccessionsVariable
    std::span<const int> fixed;  // in the order of keeper::Descriptor, from kDevice on
    std::vector<int> containers;
    std::vector<int> before = {};  // of the daemon that this one is to replace (keeper::kBeforeVariable); empty: none
  };

  KeeperProcess() = default;
  ~KeeperProcess() { end(); }
  KeeperProcess(KeeperProcess&& other) noexcept { *this = std::move(other); }
  KeeperProcess& operator=(KeeperProcess&& other) noexcept;

  /// Throws Error.
  [[nodiscard]] static KeeperProcess start(const Mount& mount);
  /// Starts a process that waits for `describe`, while this process makes the mount. Empty if that isn't possible:
  /// `start` then says why. If this process ends meanwhile, the other one ends, too. A thread does it, because a thread
  /// that starts a program waits until the program's file is open, and then often for a CPU.
  [[nodiscard]] static std::future<KeeperProcess> start_early(const std::string& mountpoint);
  /// Tells a process of `start_early` of its mount. False: it has ended.
  [[nodiscard]] bool describe(const Mount& mount) const;
  /// Waits until the process watches this one. False: it has ended, or takes too long.
  [[nodiscard]] bool watches() const;
  void signal(int signal) const { signal_process(process_, signal); }
  void end();

  [[nodiscard]] pid_t id() const { return id_; }
  /// Its pidfd; -1: empty.
  [[nodiscard]] int fd() const { return process_.get(); }
  [[nodiscard]] int control() const { return control_.get(); }

 private:
  /// `descriptors`: those from kDevice on. `variables`: "NAME=VALUE". Throws Error.
  [[nodiscard]] static KeeperProcess spawn(const std::string& containers, const std::string& connection,
                                           const std::string& mountpoint, const std::vector<int>& descriptors,
                                           std::vector<std::string> variables);

  pid_t id_ = 0;
  UniqueFd process_;
  UniqueFd control_;
};

}  // namespace pkgfs
