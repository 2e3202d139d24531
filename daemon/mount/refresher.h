// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/unique_fd.h"
#include "daemon/mount/control.h"
#include "daemon/mount/lazy_mount.h"
#include "daemon/mount/versions.h"
#include "daemon/observe/mount_facts.h"
#include "daemon/packages/fresh_tree.h"
#include "fuse/adapter.h"
#include "fuse/answering.h"
#include "fuse/session.h"
#include "fuse/shared_state.h"

namespace pkgfs {

/// Lets a mount show another version of its package (docs/REFRESH.md): when `pkgfs refresh` or `pkgfs rollback` asks
/// for it, and with --follow by itself.
///
/// A thread of its own does this and answers no requests: it waits for the network, and for the kernel. The new tree is
/// opened completely before anything changes. Then the keeper gets it, so that the next daemon knows it, too. Then the
/// root shows it, and the kernel is told of each name. Versions that no program uses any more are closed.
class Refresher {
 public:
  struct Options {
    std::optional<std::chrono::seconds> follow;
    unsigned keep_old = 0;
    std::string on_change;
  };
  /// The mount. All must outlive the refresher.
  struct Mount {
    std::string mountpoint;
    fuse::Session& session;
    fuse::Adapter& adapter;
    const fuse::SharedState& state;
    bool closes_old = true;     // false: requests that are being answered can't be seen (io_uring)
    std::string obstacle = {};  // why this mount can't show another version; empty: it can
    std::function<void(const OpenedTree&)> check = {};     // throws Error if the mount can't show the tree
    std::function<void()> before_first = {};               // called once, before the first change; on the main thread
    std::function<std::string()> keep = {};                // lets the keeper hold the versions of now; the same; says
                                                           // why that isn't possible
    std::function<void(const VersionsShown&)> shows = {};  // what the mount shows now
    std::function<void()> shown_changed = {};  // called after another version is shown, or a lazy one has become
                                               // complete; on the main thread
    std::function<std::unique_ptr<LazyMount>()> first_is_closed = {};  // called after the tree with which the mount
                                                                       // began was closed; on the main thread; gives
                                                                       // what has fetched it
    std::function<void(std::function<void()>)> on_main = {};           // calls a function on the main thread, soon
  };
  Refresher(FreshTree& fresh, Versions& versions, Options options, Mount mount);
  /// Ends the thread. If that takes more than some seconds, ends the process.
  ~Refresher();
  Refresher(const Refresher&) = delete;
  Refresher& operator=(const Refresher&) = delete;

  /// `listener`: of listen_for_control. If it is invalid, the thread tries again and again to listen. `device`: of the
  /// mount ("0:53"). `restored`: a daemon before has left the versions, so that the kernel may not have been told of
  /// the last change. Throws std::system_error.
  void start(UniqueFd listener, std::string device, bool restored);
  [[nodiscard]] bool is_running() const { return thread_.joinable(); }
  /// Ends the thread. False: it didn't end within `limit`.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

 private:
  using Clock = std::chrono::steady_clock;
  /// While older versions are open, or names wait until they are uncovered.
  static constexpr auto kTidyPause = std::chrono::milliseconds(500);

  void run();
  /// Tries to listen for requests, if that wasn't possible before.
  void listen_again();
  [[nodiscard]] nlohmann::ordered_json answer(ControlRequest request);
  /// Shows what the package means now. Throws Error, and then nothing has changed.
  [[nodiscard]] nlohmann::ordered_json refresh(bool asked);
  [[nodiscard]] nlohmann::ordered_json roll_back();
  /// --follow.
  void follow();
  /// Whether the lock file is another one than at the last look.
  [[nodiscard]] bool lock_has_changed();
  /// Makes the root show a version that was added. `refused`: as in VersionNotes. Throws Error, and then nothing has
  /// changed.
  void show(std::uint64_t number, std::string refused);
  /// Lets the keeper hold the versions of now. Returns the reason why it doesn't, or an empty text.
  [[nodiscard]] std::string keep();
  /// The same, but logs the reason.
  void keep_or_warn();
  /// Tells the kernel of `names`, except of those on which another file system is mounted: these wait.
  void tell(std::set<std::string> names);
  /// Tells the kernel of names that waited and aren't covered any more.
  void tell_uncovered();
  void close_unused();
  /// Asks the kernel from time to time to let go of the versions that aren't shown or kept.
  void let_go();
  [[nodiscard]] bool close(std::uint64_t number);
  void run_command();
  void report(const std::string& problem);
  void publish();
  /// The time until there is something to do, in milliseconds; -1: nothing.
  [[nodiscard]] int pause() const;

  FreshTree& fresh_;
  Versions& versions_;
  Options options_;
  Mount mount_;
  std::string device_;
  VersionsShown facts_;
  std::set<std::string> waiting_;  // names that the kernel wasn't told of
  Clock::time_point next_look_;    // whether they are still covered
  std::chrono::milliseconds look_pause_{0};
  std::optional<fuse::Answering> before_switch_;
  Clock::time_point next_let_go_;
  std::chrono::milliseconds let_go_pause_{0};
  Clock::time_point next_follow_ = Clock::time_point::max();
  UniqueFd listener_;
  Clock::time_point next_listen_;
  std::chrono::milliseconds listen_pause_{0};
  UniqueFd wake_;  // an eventfd
  std::atomic<bool> stopping_{false};
  std::promise<void> done_;
  std::future<void> ended_;
  std::thread thread_;
};

}  // namespace pkgfs
