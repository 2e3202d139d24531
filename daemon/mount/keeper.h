// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/unique_fd.h"
#include "daemon/keeper/protocol.h"
#include "daemon/mount/crash_reports.h"
#include "daemon/mount/guarding.h"
#include "daemon/mount/keeper_process.h"
#include "daemon/mount/keeperd.h"

namespace pkgfs {

/// A child process of the daemon. When the daemon is killed or crashes, the keeper starts another daemon, the
/// successor, which goes on with the mount (daemon/keeper/main.cc). Readers notice a pause of milliseconds.
///
/// The child process runs a program of its own, `pkgfs-keeper`, which is in the directory of pkgfs or in
/// `../libexec/pkgfs`. A daemon has at most one keeper.
class Keeper final : public MountGuard {
 public:
  /// What the keeper holds. It gets duplicates of all these descriptors.
  struct Contents {
    UniqueFd record;              // of MountRecord
    UniqueFd state;               // of fuse::SharedState
    UniqueFd requests;            // of fuse::RequestStore; may be invalid
    std::vector<int> containers;  // of KeptTree; owned by the tree
  };
  /// Makes the contents anew whenever a keeper is started. Throws Error.
  using Make = std::function<Contents()>;

  /// `device`: of the FUSE session, and `state`: of fuse::SharedState. Both must outlive the keeper. `connection`: its
  /// number ("53"). `keeperd`: the path of the socket of pkgfs-keeperd; empty: it doesn't hold the mount. `early`: of
  /// KeeperProcess::start_early, or empty.
  Keeper(int device, int state, std::string connection, std::string mountpoint, Make make,
         const std::string& keeperd = {}, std::future<KeeperProcess> early = {})
      : device_(device),
        state_(state),
        connection_(std::move(connection)),
        mountpoint_(std::move(mountpoint)),
        make_(std::move(make)),
        early_(std::move(early)) {
    if (!keeperd.empty()) {
      keeperd_.emplace(keeperd);
    }
  }
  /// Ends the child process. Call `let_go` first, so that no successor is started.
  ~Keeper() override;
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  /// Starts a child process, which holds what the mount has open now, and returns when it watches this process. One
  /// that runs already ends only then: if this process is killed meanwhile, one of the two acts. Returns an empty text,
  /// or the reason why no other child process was started: then the one before goes on, if it runs.
  ///
  /// A process of KeeperProcess::start_early is only told of the mount: what is on its way reaches it although this
  /// process is killed. Call `confirm` when the caller of the daemon doesn't wait any more.
  [[nodiscard]] std::string start();
  /// Waits until the child process watches this process. Returns an empty text, or the reason why there is no child
  /// process any more.
  [[nodiscard]] std::string confirm();
  /// This daemon is to replace one that runs, whose fuse::SharedState is `state`, which must stay open until
  /// `has_replaced`. Until this daemon has noted there that it has done so, the child process does nothing if this
  /// daemon ends: the other one goes on. Call it before the first `start`.
  /// `daemon` and `keeper` are the pidfds of that one and of its keeper, for which the same holds.
  void replaces(int state, int daemon, int keeper) { before_ = {state, daemon, keeper}; }
  /// Call it when the other daemon, if there was one, and its keeper have ended.
  void has_replaced() {
    if (!std::exchange(before_, {}).empty()) {
      child_.signal(keeper::kWakeSignal);  // the address at which it listens is free now
    }
  }
  /// Whether a daemon that was to replace this one may have taken requests, and hasn't replaced it. Then forgets that:
  /// the caller takes them back.
  [[nodiscard]] bool forget_taking() const;
  /// Call it when the daemon ends because it was asked to. From now on, the child process only aborts the connection if
  /// the daemon can't end. When this returns, the child process has closed the device, unless that takes more than a
  /// second.
  void let_go();
  /// Whether pkgfs-keeperd is to hold what the child process holds.
  [[nodiscard]] bool is_backed() const { return keeperd_.has_value(); }
  /// Lets pkgfs-keeperd hold the same. Returns an empty text, or the reason why it doesn't.
  [[nodiscard]] std::string register_mount();
  /// Tells pkgfs-keeperd that this daemon is about to replace one that runs (`replaces`), so that a keeper is started
  /// if this daemon and its child process are killed before `register_mount`. Without that, both must live until then.
  /// Returns an empty text, or, if pkgfs-keeperd doesn't answer within a second, a text that says so.
  [[nodiscard]] std::string announce();
  /// Whether it does. Any thread may call it.
  [[nodiscard]] bool is_registered() const { return is_registered_; }
  /// Call it when `keeperd_fd` is readable.
  void keeperd_ended() {
    keeperd_->forget();
    is_registered_ = false;
  }
  /// Becomes readable when pkgfs-keeperd has ended; -1: it doesn't hold the mount.
  [[nodiscard]] int keeperd_fd() const { return keeperd_ ? keeperd_->ended_fd() : -1; }
  /// Whether the running child process may abort the connection.
  [[nodiscard]] bool can_abort() const { return can_abort_; }
  [[nodiscard]] const char* name() const override { return "keeper"; }
  /// A child process that ends again and again isn't replaced more than 600 times within a minute.
  [[nodiscard]] std::string replace() override;
  [[nodiscard]] int ended_fd() const override { return child_.fd(); }
  /// The child process; 0: none watches this process. Any thread may call it.
  [[nodiscard]] pid_t id() const { return id_; }

 private:
  /// What a keeper is started with, in the order of keeper::Descriptor, but for its control socket.
  struct Held {
    Contents contents;
    UniqueFd file_system;  // of open_abort_file
    UniqueFd abort_file;
    bool can_abort = false;  // `abort_file` is of the connection
    UniqueFd executable;
    UniqueFd own_end;
    UniqueFd main_thread;
    std::vector<int> descriptors;
  };
  /// Throws Error.
  [[nodiscard]] Held make_held();
  /// Registers the mount at pkgfs-keeperd. Returns an empty text, or the reason why that failed.
  [[nodiscard]] std::string register_as(keeper::Kind kind);
  /// Ends the child process, if it still runs, and forgets it.
  void end();

  int device_;
  int state_;
  std::string connection_;
  std::string mountpoint_;
  Make make_;
  CrashReports crashes_;
  std::future<KeeperProcess> early_;  // for the first start
  KeeperProcess child_;
  std::atomic<pid_t> id_{0};
  std::optional<Keeperd> keeperd_;
  std::atomic<bool> is_registered_{false};
  bool can_abort_ = false;     // of the running child process
  UniqueFd close_later_;       // of open_abort_file
  bool is_told_only_ = false;  // it was told of the mount, but hasn't said that it watches
  std::vector<int> before_;    // of `replaces`
  int replaced_ = 0;           // since `counted_since_`
  std::chrono::steady_clock::time_point counted_since_;
};

}  // namespace pkgfs
