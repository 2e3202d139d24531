// SPDX-License-Identifier: MIT
#include "daemon/csi/driver.h"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <ostream>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/run_report.h"
#include "daemon/cli/settings.h"
#include "daemon/csi/csi_options.h"
#include "daemon/csi/driver_metrics.h"
#include "daemon/csi/grpc_endpoint.h"
#include "daemon/csi/host_namespaces.h"
#include "daemon/csi/services.h"
#include "daemon/observe/metrics_server.h"
#include "daemon/volumes/state_lock.h"
#include "fuse/session.h"

namespace pkgfs::csi {
namespace {

/// How many packages are resolved or downloaded at the same time, each by a process in the driver's cgroup.
constexpr int kPlaces = 6;
constexpr std::chrono::milliseconds kLookAfterMounts{5000};   // asks each daemon
constexpr std::chrono::milliseconds kLookAfterTargets{1000};  // reads the mount table

std::string own_program() {
  std::error_code failed;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", failed);
  return self.parent_path() / "pkgfs";
}

/// Blocks the signals that end the driver, in this thread and in all that it starts. Call it before there are others.
sigset_t block_stop_signals() {
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(concurrency-mt-unsafe)
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  return stop;
}

void serve(const CsiOptions& options, const OwnProgram& program) {
  const sigset_t stop = block_stop_signals();
  const FileLock lock =
      lock_state(options.state_dir, "driver", "a second one needs an --endpoint and --state-dir of its own");
  const AttributePolicy policy{
      .local_root = options.local_root, .cache_dir = options.cache_dir, .lock_directory = options.state_dir + "/locks"};
  VolumeTable::Settings settings{.state_file = options.state_dir + "/state.json"};
  settings.mount_wait = options.publish_wait;
  settings.create_wait = std::min(settings.create_wait, settings.mount_wait);
  settings.keep = options.keep;
  settings.look_after = kLookAfterMounts;
  settings.forgets = true;
  settings.lock_directory = policy.lock_directory;
  VolumeTable table(settings, Mounter(options.state_dir, options.mount_root, program));
  NodeVolumes volumes(table, policy, {.look_after = kLookAfterTargets, .publish_wait = options.publish_wait});
  PackagePins pins(options.state_dir + "/controller.json", policy, program, options.publish_wait);
  CallCounts counts;
  IdentityService identity(options.driver_name, counts);
  NodeService node(options.node_id, volumes, counts);
  ControllerService controller(pins, counts);
  RegistrationService registration(options.driver_name, options.advertised);
  std::optional<MetricsServer> metrics;
  if (!options.metrics.empty()) {
    metrics.emplace(options.metrics, [&] { return metrics_text(counts.table(), volumes.counts()); });
    metrics->start();
  }
  const GrpcEndpoint endpoint(options.endpoint, {&identity, &node, &controller});
  std::unique_ptr<GrpcEndpoint> registering;
  if (!options.registration.empty()) {  // last: the kubelet then calls the driver
    registering = std::make_unique<GrpcEndpoint>(options.registration, std::vector<grpc::Service*>{&registration});
  }
  log::info("the driver \"{}\" is ready at \"{}\"", options.driver_name, options.endpoint);
  int signal = 0;
  ::sigwait(&stop, &signal);
  log::info("the driver ends; mounts that pods use stay");
  table.stop();
  pins.stop();
}

}  // namespace

int run_driver(const std::vector<std::string>& arguments, const Io& io) {
  const LogSession log(io);
  try {
    const CsiOptions options = parse_csi_options(arguments, io.environment);
    if (options.help) {
      print_csi_help(*io.out);
      return kExitOk;
    }
    if (options.version) {
      *io.out << "pkgfs-csi " PKGFS_VERSION "\n";
      return kExitOk;
    }
    set_log_level({.level = options.log_level});
    // Pods choose the registry. So a token or registry in the environment of the driver isn't for their volumes.
    for (const char* name : {"WASMER_TOKEN", "WASMER_REGISTRY"}) {
      ::unsetenv(name);  // NOLINT(concurrency-mt-unsafe): there are no other threads yet
    }
    // Nor are the logins of the node at OCI registries, which pkgfs would find in files.
    ::setenv(kLoginsVariable, "{}", 1);  // NOLINT(concurrency-mt-unsafe): the same
    OwnProgram program;
    program.path = options.program.empty() ? own_program() : options.program;
    if (!options.host_process.empty()) {
      program = enter_host(options.host_process, program.path, options.state_dir);
    }
    program.places = std::make_shared<std::counting_semaphore<>>(kPlaces);
    fuse::check_device();
    serve(options, program);
    return kExitOk;
  } catch (...) {
    return report_failure(io, current_error());
  }
}

}  // namespace pkgfs::csi
