// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/lazy/lazy_source.h"
#include "core/vfs/served_file_system.h"
#include "daemon/cli/options.h"
#include "daemon/mount/mount_threads.h"
#include "daemon/mount/mount_watch.h"
#include "daemon/mount/service_manager.h"
#include "daemon/observe/metrics_server.h"
#include "daemon/observe/mount_facts.h"
#include "daemon/serve/package_names.h"
#include "daemon/serve/tree_closer.h"
#include "fuse/adapter.h"
#include "fuse/cpu_latency.h"
#include "fuse/session.h"
#include "fuse/shared_state.h"
#include "fuse/statistics.h"

namespace pkgfs {

/// The parts of the mount of `pkgfs serve`, in the order in which they need each other.
class ServedDirectory {
 public:
  /// `watch` blocks signals, so it was made before any thread. `names` has no thread yet.
  ServedDirectory(MountWatch& watch, PackageNames& names, const MountOptions& options, const std::string& mountpoint,
                  ServiceManager& manager);

  /// Ends all searches, which use what is destroyed next.
  ~ServedDirectory();
  ServedDirectory(const ServedDirectory&) = delete;
  ServedDirectory& operator=(const ServedDirectory&) = delete;

  /// As serve_mount (daemon/mount/mount_service.h).
  int serve(const std::function<void(const std::string&)>& ready);

 private:
  [[nodiscard]] MountFacts first_facts() const;
  [[nodiscard]] MountFacts facts() const;
  [[nodiscard]] std::vector<std::shared_ptr<LazySource>> lazy_sources() const;
  [[nodiscard]] fuse::AdapterOptions shown();
  [[nodiscard]] bool begin();
  int end(int exit_code);

  MountWatch& watch_;
  PackageNames& names_;
  const MountOptions& options_;
  const std::string& mountpoint_;
  ServiceManager& manager_;
  vfs::ServedFileSystem fs_;
  fuse::SharedState state_;
  fuse::Statistics statistics_;
  fuse::CpuLatency cpu_latency_;
  MountFacts facts_;
  std::optional<MetricsServer> metrics_;
  fuse::Adapter adapter_;
  fuse::MountSettings settings_;
  std::optional<Guards> guards_;  // outlive the session: they guard the connection
  std::unique_ptr<fuse::Session> session_;
  std::optional<TreeCloser> closer_;  // uses the session
};

}  // namespace pkgfs
