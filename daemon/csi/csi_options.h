// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <iosfwd>
#include <string>
#include <vector>

#include "daemon/cli/io.h"

namespace pkgfs::csi {

/// The command line of pkgfs-csi.
struct CsiOptions {
  std::string endpoint = "/var/lib/kubelet/plugins/csi.pkgfs/csi.sock";  // a Unix socket
  std::string registration;  // the socket for the kubelet's plugin watcher; empty: another program registers
  std::string advertised;    // the endpoint as the kubelet sees it; empty: `endpoint`
  std::string driver_name = "csi.pkgfs";
  std::string node_id;  // empty: NODE_NAME of the environment, else the host's name
  std::string state_dir = "/var/lib/pkgfs/csi";
  std::string mount_root;  // empty: STATE-DIR/mounts
  std::string cache_dir;   // empty: STATE-DIR/cache
  std::string local_root;  // paths in attributes must be below it; empty: no paths
  std::string program;     // pkgfs; empty: beside this executable
  std::string metrics;     // an address, as of pkgfs mount --metrics; empty: none
  std::string log_level = "info";
  std::chrono::milliseconds publish_wait{20000};  // how long a publish takes at most
  std::chrono::milliseconds keep{10000};          // how long a mount without pods stays
  std::string host_process;  // work in the namespaces of this process; empty: in those of the driver
  bool help = false;
  bool version = false;
};

/// Throws Error(kUsage) naming the option.
[[nodiscard]] CsiOptions parse_csi_options(const std::vector<std::string>& arguments, const Environment& environment);
void print_csi_help(std::ostream& out);

}  // namespace pkgfs::csi
