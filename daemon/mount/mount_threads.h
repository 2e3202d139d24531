// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/function_ref.h"
#include "daemon/mount/guardian.h"
#include "daemon/mount/keeper.h"
#include "daemon/mount/manifest_follower.h"
#include "daemon/mount/mount_table.h"
#include "fuse/change_notifier.h"
#include "fuse/content_prefetcher.h"
#include "fuse/cpu_latency.h"
#include "fuse/session.h"

// What a daemon starts once its mount answers. If such a thread or process can't be started, these functions log that,
// and the mount goes on without it.
namespace pkgfs {

/// What the kernel reads ahead in a file whose bytes may be at a server, in KiB. With more, the daemon would fetch
/// bytes that no program reads.
inline constexpr std::uint32_t kLazyReadAhead = 64;
/// The kernel's own value.
inline constexpr std::uint32_t kUsualReadAhead = 128;

/// Sets the kernel's read-ahead of the mount on `device` ("0:53"). Where this process may not set it, reading is slower
/// and all else works.
void set_read_ahead(const std::string& device, std::uint32_t kib);

/// The process that acts when the daemon is killed: a keeper if the mount has one, else a guardian, which is started
/// when it is first needed. A keeper that can't be started is tried again after a second, and later less often.
class Guards final : public MountGuard {
 public:
  /// `device`: of the mount, "0:53"; empty if another mount covers it.
  explicit Guards(std::string device) : device_(std::move(device)) {}

  /// Starts `keeper`, which from now on does what a guardian does, as long as it can be started. `keeper` must outlive
  /// this object, and `session` all calls. `replaces`: this daemon is to replace one that runs; pkgfs-keeperd is told
  /// of that. Call `back_up` next, once this daemon has done that.
  void use(Keeper& keeper, fuse::Session& session, bool replaces);
  /// Makes sure that a keeper that was told of the mount only watches it now (Keeper::confirm).
  void confirm();
  /// Lets pkgfs-keeperd hold what the running keeper holds, if it is to do that.
  void back_up();
  /// Lets another keeper, which holds what the mount has open now, take the place of the one that runs. Returns an
  /// empty text, or the reason why the one before stays, which holds what the mount had open then. Then it is tried
  /// again later.
  [[nodiscard]] std::string renew();
  /// Makes sure that there is such a process, and that it may abort the connection. Returns an empty text, or the
  /// reason why that isn't so.
  [[nodiscard]] std::string need();
  [[nodiscard]] const char* name() const override { return current().name(); }
  /// Starts a guardian if no keeper can be started.
  [[nodiscard]] std::string replace() override;
  [[nodiscard]] int ended_fd() const override { return current().ended_fd(); }
  [[nodiscard]] Time next_improvement() const override { return next_try_; }
  void improve() override;
  /// pkgfs-keeperd has ended. It is asked again later.
  [[nodiscard]] int lost_fd() const override { return keeper_ == nullptr ? -1 : keeper_->keeperd_fd(); }
  void lost() override;
  [[nodiscard]] const std::string& device() const { return device_; }
  /// The number of the FUSE connection.
  [[nodiscard]] std::string connection() const { return connection_of(device_); }

 private:
  [[nodiscard]] bool has_keeper() const { return keeper_ != nullptr && keeper_->ended_fd() >= 0; }
  [[nodiscard]] const MountGuard& current() const {
    return has_keeper() ? static_cast<const MountGuard&>(*keeper_) : guardian_;
  }
  void try_later();
  /// `why`: the keeper wasn't started; empty: it was.
  void look_at_start(const std::string& why);

  std::string device_;
  Keeper* keeper_ = nullptr;
  fuse::Session* session_ = nullptr;
  bool must_renew_ = false;  // the keeper holds what the mount had open before
  std::string silence_;      // pkgfs-keeperd has just not answered; the next `back_up` doesn't wait for it again
  Guardian guardian_;
  std::chrono::seconds pause_{0};  // until the next attempt to start a keeper, or to reach pkgfs-keeperd
  Time next_try_ = Time::max();
};

/// Lets `prefetcher` work if there is a process that guards the mount.
void start_prefetching(fuse::Session& session, fuse::ContentPrefetcher& prefetcher, Guards& guards);
/// Lets `notifier` tell the kernel of changes. If no process guards the mount, doesn't start it, because it may wait in
/// the kernel.
void start_notifying(fuse::Session& session, fuse::ChangeNotifier& notifier, Guards& guards);
void start_following(ManifestFollower& follower, const std::string& device);
void start_cpu_latency(fuse::CpuLatency& cpu_latency, std::optional<bool> asked);
/// Calls `open`, which throws Error if the address of the metrics is taken, until it succeeds or some time is over. The
/// daemon before may hold the address for a moment, until the kernel has ended all its threads.
void open_metrics_again(FunctionRef<void()> open);

}  // namespace pkgfs
