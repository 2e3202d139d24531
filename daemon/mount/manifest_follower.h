// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <thread>

#include "core/base/hash.h"
#include "core/base/unique_fd.h"
#include "daemon/packages/followed_tree.h"

namespace pkgfs {

/// Watches the `wasmer.toml` of a mounted package directory and takes over its changes (--follow-manifest).
///
/// A thread of its own does this and answers no requests: it waits for the host, and for the network if dependencies
/// have changed. A manifest with an error is logged once, and the mount stays as it was. It is tried again after a
/// while, because the cause may be elsewhere, such as a directory that doesn't exist yet.
class ManifestFollower {
 public:
  /// `tree` must outlive this. `check` may refuse a new tree (FollowedTree::reload). `taken` is called after the tree
  /// has taken over a change. The thread calls both.
  ManifestFollower(FollowedTree& tree, std::function<void(const PackageTree&)> check, std::function<void()> taken);
  /// Ends the thread. If that takes more than some seconds, ends the process.
  ~ManifestFollower();
  ManifestFollower(const ManifestFollower&) = delete;
  ManifestFollower& operator=(const ManifestFollower&) = delete;

  /// `own_device`: the device number (`st_dev`) of the mount. Call `start` only once. Throws std::system_error.
  void start(std::uint64_t own_device);
  /// Ends the thread. False: it didn't end within `limit`.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

 private:
  using Clock = std::chrono::steady_clock;
  /// How long after a change FollowedTree::drop_former is called: three times.
  static constexpr std::array<std::chrono::seconds, 3> kTidy{std::chrono::seconds(1), std::chrono::seconds(10),
                                                             std::chrono::seconds(60)};

  void run();
  /// Takes the manifest over if it has changed.
  void look();
  void reload(const Sha256& manifest);
  /// Drops what is left of the former tree, if it is time.
  void tidy();
  /// The time until there is something to do, in milliseconds; -1 if there is nothing to do.
  [[nodiscard]] int pause() const;

  FollowedTree& tree_;
  std::function<void(const PackageTree&)> check_;
  std::function<void()> taken_;
  std::optional<Sha256> failed_;  // the manifest of the last attempt, if that failed
  std::string reason_;            // why
  std::chrono::seconds wait_{0};
  Clock::time_point next_attempt_;
  std::size_t tidied_ = kTidy.size();  // steps of `kTidy` that were done
  Clock::time_point taken_at_;
  std::uint64_t own_device_ = 0;
  UniqueFd wake_;  // an eventfd
  std::atomic<bool> stopping_{false};
  std::promise<void> done_;
  std::future<void> ended_;
  std::thread thread_;
};

}  // namespace pkgfs
