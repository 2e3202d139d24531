// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/lazy/lazy_source.h"
#include "core/vfs/served_file_system.h"
#include "daemon/cli/options.h"
#include "daemon/mount/keeping.h"
#include "daemon/mount/mount_watch.h"
#include "daemon/mount/predecessor.h"
#include "daemon/mount/service_manager.h"
#include "daemon/mount/succession.h"
#include "daemon/observe/metrics_server.h"
#include "daemon/observe/mount_facts.h"
#include "daemon/serve/directory_journal.h"
#include "daemon/serve/package_names.h"
#include "daemon/serve/tree_closer.h"
#include "fuse/adapter.h"
#include "fuse/cpu_latency.h"
#include "fuse/session.h"
#include "fuse/statistics.h"

namespace pkgfs {

/// The parts of the mount of `pkgfs serve`, in the order in which they need each other, and the steps from the first to
/// the last.
class ServedDirectory {
 public:
  /// `watch` blocks signals, so it was made before any thread. `names` has no thread yet. With a `predecessor`, goes on
  /// with its mount.
  ServedDirectory(MountWatch& watch, PackageNames& names, const MountOptions& options, const std::string& mountpoint,
                  ServiceManager& manager, std::optional<Predecessor> predecessor);

  /// Ends all searches, which use what is destroyed next.
  ~ServedDirectory();
  ServedDirectory(const ServedDirectory&) = delete;
  ServedDirectory& operator=(const ServedDirectory&) = delete;

  /// As serve_mount (daemon/mount/mount_service.h).
  int serve(const std::function<void(const std::string&)>& ready);

 private:
  [[nodiscard]] MountFacts first_facts() const;
  [[nodiscard]] MountFacts facts() PKGFS_EXCLUDES(facts_mutex_);
  [[nodiscard]] MountRecord record() PKGFS_EXCLUDES(facts_mutex_);
  [[nodiscard]] KeptParts parts() const {
    KeptParts parts = succession_.parts(*session_);
    parts.journal = journal_ == nullptr ? -1 : journal_->fd();
    return parts;
  }
  [[nodiscard]] std::vector<std::shared_ptr<LazySource>> lazy_sources() const;
  [[nodiscard]] fuse::AdapterOptions shown();
  /// For a new mount that another daemon may go on with.
  void make_journal();
  void open_metrics();
  /// Goes on with the mount of the predecessor.
  void go_on();
  void start_serving();
  void tell_ready(const std::function<void(const std::string&)>& ready);
  /// Starts what isn't needed for the first replies.
  void start_helpers();
  int end(int exit_code);

  MountWatch& watch_;
  PackageNames& names_;
  const MountOptions& options_;
  const std::string& mountpoint_;
  ServiceManager& manager_;
  std::int64_t since_;                         // when the mount was made, in seconds since the epoch
  std::unique_ptr<DirectoryJournal> journal_;  // if another daemon may go on with the mount
  vfs::ServedFileSystem fs_;
  Succession succession_;
  fuse::Statistics statistics_;
  fuse::CpuLatency cpu_latency_;
  Mutex facts_mutex_;
  MountFacts facts_ PKGFS_GUARDED_BY(facts_mutex_);
  std::optional<MetricsServer> metrics_;
  fuse::Adapter adapter_;
  fuse::MountSettings settings_;
  std::unique_ptr<fuse::Session> session_;
  std::optional<TreeCloser> closer_;  // uses the session
};

}  // namespace pkgfs
