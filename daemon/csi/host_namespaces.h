// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "daemon/volumes/own_command.h"

// A driver in a container must leave mounts and daemons that outlive the container. So it moves itself into the mount
// namespace of the host, where its mounts and sockets then are. Its container needs hostPID and the privilege to do it,
// and neither volumes of the host nor mount propagation. The daemons of the mounts move out of the container's cgroup,
// whose processes all end with the container.
namespace pkgfs::csi {

/// Moves this process into the mount and cgroup namespaces of `process`, a number in /proc. This process stays in its
/// network, where its metrics are reached; the programs that it starts go into that of `process`. `program` is the
/// executable of pkgfs in the container; it and its keeper are copied to the host, below `state_dir`/bin, because the
/// container's files go with the container. Returns the program to run: its path on the host, the cgroups for the
/// daemons, and the network. Removes copies of earlier versions that no process runs any more. Call it before there are
/// threads. Throws Error.
[[nodiscard]] OwnProgram enter_host(const std::string& process, const std::string& program,
                                    const std::string& state_dir);

}  // namespace pkgfs::csi
