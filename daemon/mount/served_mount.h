// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/base/unique_fd.h"
#include "daemon/mount/keeping.h"
#include "daemon/mount/lazy_mount.h"
#include "daemon/mount/manifest_follower.h"
#include "daemon/mount/mount_service.h"
#include "daemon/mount/mount_threads.h"
#include "daemon/mount/mount_watch.h"
#include "daemon/mount/predecessor.h"
#include "daemon/mount/refresher.h"
#include "daemon/mount/succession.h"
#include "daemon/mount/versions.h"
#include "daemon/mount/writable_mount.h"
#include "daemon/observe/metrics_server.h"
#include "daemon/observe/mount_facts.h"
#include "fuse/adapter.h"
#include "fuse/change_notifier.h"
#include "fuse/content_prefetcher.h"
#include "fuse/cpu_latency.h"
#include "fuse/live_journal.h"
#include "fuse/session.h"

namespace pkgfs {

/// The parts of a mount in the order in which they need each other, and the steps from the first to the last.
class ServedMount {
 public:
  /// `watch` blocks signals, so it was made before any thread.
  ServedMount(MountWatch& watch, OpenedTree opened, LaterTrees later, const MountOptions& options,
              const std::string& mountpoint, ServiceManager& manager, std::optional<Predecessor> predecessor,
              WritablePlace* writable);

  /// What serve_mount does (mount_service.h), but for the signals.
  int serve(const std::function<void(const std::string&)>& ready);

 private:
  [[nodiscard]] MountFacts first_facts();
  /// The facts of now.
  [[nodiscard]] MountFacts facts();
  [[nodiscard]] MountRecord record();
  [[nodiscard]] KeptParts parts() const {
    KeptParts parts = succession_.parts(session_);
    parts.versions = &versions_;
    parts.journal = journal_ ? journal_->fd() : -1;
    parts.writable = writable_ ? &*writable_ : nullptr;
    return parts;
  }
  /// For a new mount with live directories that another daemon may go on with. If it can't be made, nothing keeps the
  /// mount.
  [[nodiscard]] std::optional<fuse::LiveJournal> make_journal();
  [[nodiscard]] fuse::AdapterOptions shown();
  void open_metrics();
  void follow(FollowedTree& followed);
  /// Prepares for other versions of the package.
  void prepare_refresher();
  /// Listens for `pkgfs refresh`, and starts to follow the package if that was asked for.
  void begin_refreshing();
  void start_refresher();
  /// Lets the keeper or the service manager hold what the mount has open now.
  [[nodiscard]] std::string keep_again();
  [[nodiscard]] std::vector<std::shared_ptr<LazySource>> lazy_sources() PKGFS_EXCLUDES(facts_mutex_);

  /// Goes on with the mount of the predecessor.
  void go_on();
  /// Makes the overlay of a new writable mount, and watches it.
  void attach_overlay();
  void watch_overlay();
  void start_serving();
  void tell_ready(const std::function<void(const std::string&)>& ready);
  /// Starts what isn't needed for the first replies.
  void start_helpers();
  void begin_lazily();
  /// Lets the kernel read as far ahead as suits the version that is shown, and prefetches once all of that is local.
  void suit_shown();
  /// The first tree was closed: gives what fetched it to the caller.
  [[nodiscard]] std::unique_ptr<LazyMount> take_first_lazy() PKGFS_EXCLUDES(facts_mutex_);
  int end(int exit_code);

  MountWatch& watch_;
  OpenedTree opened_;
  const MountOptions& options_;
  const std::string& mountpoint_;
  ServiceManager& manager_;
  FreshTree& fresh_;  // what the package means later
  Versions versions_;
  vfs::FileSystem& tree_;  // with which the mount begins
  Succession succession_;
  fuse::Statistics statistics_;
  fuse::ContentPrefetcher prefetcher_;
  fuse::ContentPrefetcher* used_prefetcher_;  // null: nothing is prefetched
  bool reads_little_ahead_ = false;           // the kernel was told to, for a lazy version
  fuse::CpuLatency cpu_latency_;
  std::unique_ptr<LazyMount> lazy_;  // of the first tree, until that is closed
  Mutex facts_mutex_;  // for the packages, which change if the manifest is followed, and for the end of `lazy_`
  MountFacts facts_ PKGFS_GUARDED_BY(facts_mutex_);
  std::optional<MetricsServer> metrics_;
  std::optional<fuse::LiveJournal> journal_;  // if there are live directories, and another daemon may go on with them
  fuse::Adapter adapter_;
  fuse::MountSettings settings_;
  std::optional<fuse::ChangeNotifier> notifier_;
  std::optional<WritableMount> writable_;  // the overlay above this mount
  UniqueFd covered_;                       // the directory below the mount
  std::optional<ManifestFollower> follower_;
  UniqueFd control_;  // listens for `pkgfs refresh`
  fuse::Session session_;
  std::optional<Refresher> refresher_;  // uses the session
};

}  // namespace pkgfs
