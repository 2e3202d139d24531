// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "daemon/mount/keeper.h"
#include "daemon/mount/keeping.h"
#include "daemon/mount/mount_threads.h"
#include "daemon/mount/mount_watch.h"
#include "daemon/mount/predecessor.h"
#include "daemon/mount/service_manager.h"
#include "daemon/observe/mount_facts.h"
#include "fuse/live_ids.h"
#include "fuse/request_store.h"
#include "fuse/session.h"
#include "fuse/shared_state.h"
#include "fuse/statistics.h"

namespace pkgfs {

/// The place of this process among the daemons of one mount, one after another. It has what the daemon before has left,
/// and what the next one needs. Only the main thread may use it, except where a function says otherwise.
///
/// Call `begin` or `go_on`, then `keep_requests`, `start`, and `confirm` when the caller of the daemon doesn't wait any
/// more.
class Succession {
 public:
  /// `predecessor`: the daemon before; none: the mount is new. Then starts the process of the keeper, if there is to be
  /// one. Call it before any thread is started: it may change the environment (state_of).
  Succession(std::optional<Predecessor> predecessor, Keeping keeping, const std::string& mountpoint);

  /// Null: the mount is new. Any thread may call it.
  [[nodiscard]] const Predecessor* predecessor() const { return predecessor_ ? &*predecessor_ : nullptr; }
  /// Whether the daemon before runs until this one serves (`pkgfs upgrade-mounts`).
  [[nodiscard]] bool replaces() const { return predecessor_ && predecessor_->runs; }
  [[nodiscard]] Keeping keeping() const { return keeping_; }
  [[nodiscard]] bool is_kept() const { return keeping_ != Keeping::kNothing; }
  /// Another daemon can't go on with the mount: logs why.
  void keep_nothing(const std::string& why);
  [[nodiscard]] fuse::SharedState& state() { return state_; }
  /// Of this session. The caller adds what else is kept of the mount.
  [[nodiscard]] KeptParts parts(const fuse::Session& session) const {
    return {.session = &session, .versions = nullptr, .state = &state_, .requests = requests_.get()};
  }

  /// Makes the mount that `settings` describe, and waits until it can be served. `given`: the mount point as the user
  /// named it. False: a signal came before. Throws Error.
  [[nodiscard]] bool begin(MountWatch& watch, fuse::Session& session, const fuse::MountSettings& settings,
                           const std::string& given);
  /// Takes the mount over from the daemon before. Throws Error.
  void go_on(fuse::Session& session, fuse::Statistics& statistics);
  /// Where the kernel can't send requests again, keeps them for the next daemon.
  void keep_requests(const fuse::Session& session);

  /// What `start` needs of the mount.
  struct Mount {
    MountRecord record;
    KeptParts parts;
    fuse::ServerOptions servers;
    vfs::FileSystem& tree;
    fuse::LiveIds* ids;  // null: node ids are inodes of the tree
    /// Is called once the daemon before has ended, if there was one.
    std::function<void()> serve_alone;
  };
  /// Starts the threads that serve the mount, and the keeper. Ends the daemon before if that runs. Throws Error.
  void start(fuse::Session& session, fuse::Statistics& statistics, Mount mount);
  /// Makes sure that the keeper watches this process.
  void confirm() { guards_->confirm(); }
  /// Calls `ended` when the daemon before has ended, with all its threads. `session` takes back what they had taken.
  void watch_predecessor(MountWatch& watch, fuse::Session& session, std::function<void()> ended);
  /// Lets the service manager keep what a keeper would hold (store_mount).
  [[nodiscard]] std::string store(ServiceManager& manager, MountRecord record, const KeptParts& parts) const;
  /// Call it when the daemon ends because it was asked to.
  void let_go(ServiceManager& manager);

  /// There are guards from `begin` or `go_on` on.
  [[nodiscard]] Guards& guards() { return *guards_; }
  [[nodiscard]] bool has_keeper() const { return keeper_ && keeper_->id() > 0; }
  /// What the mount tells of its keeper. Any thread may call it.
  void describe(MountFacts& facts) const;

 private:
  std::optional<Predecessor> predecessor_;
  Keeping keeping_;
  fuse::SharedState state_;
  std::future<KeeperProcess> early_keeper_;       // until the mount is there; `state_` sets its environment
  std::unique_ptr<fuse::RequestStore> requests_;  // where the kernel doesn't send them again
  std::optional<Keeper> keeper_;
  std::optional<Guards> guards_;
  std::optional<CrashReports> early_crashes_;
};

}  // namespace pkgfs
