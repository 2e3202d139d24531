// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/base/unique_fd.h"
#include "daemon/keeper/registration.h"

namespace pkgfs {

/// The path of the socket of pkgfs-keeperd for this user (daemon/keeper/registration.h). Empty: none is known.
[[nodiscard]] std::string keeperd_socket();
/// Connects to pkgfs-keeperd at `path`. Invalid, with the reason in `why`, if no process listens there, or if the
/// process is of another user: it gets everything that this process may do with its mount.
[[nodiscard]] UniqueFd connect_to_keeperd(const std::string& path, std::string& why);

/// Lets pkgfs-keeperd hold a mount. Only the main thread may use it.
class Keeperd {
 public:
  explicit Keeperd(std::string path) : path_(std::move(path)) {}

  /// Gives pkgfs-keeperd duplicates of `descriptors`, in the order of keeper::Registered, in place of those that it
  /// has, or, with kPending, beside those of the daemon that this one is to replace. Waits at most some seconds, or,
  /// with kPending, one. Returns an empty text, or the reason why it doesn't hold them.
  [[nodiscard]] std::string hold(const std::vector<int>& descriptors, keeper::Kind kind);
  /// Whether pkgfs-keeperd has sent no reply in the time of the last `hold`.
  [[nodiscard]] bool is_silent() const { return is_silent_; }
  /// The daemon ends because it was asked to. When this returns, pkgfs-keeperd has closed all of this mount, unless
  /// that takes more than a second.
  void let_go();
  /// Becomes readable when pkgfs-keeperd has ended; -1: it doesn't hold the mount.
  [[nodiscard]] int ended_fd() const { return socket_.get(); }
  void forget() { socket_.reset(); }

 private:
  std::string path_;
  UniqueFd socket_;
  bool is_silent_ = false;
};

}  // namespace pkgfs
