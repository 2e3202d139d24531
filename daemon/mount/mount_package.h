// SPDX-License-Identifier: MIT
#pragma once

#include "daemon/cli/io.h"
#include "daemon/cli/options.h"

namespace pkgfs {

/// Mounts a package as `pkgfs mount` does, in the background unless `options` say otherwise. Returns the exit code: in
/// the background as soon as the mount answers, in the foreground when it has ended. Throws Error. Call it before any
/// thread is started.
[[nodiscard]] int mount_package(const MountOptions& options, const Io& io);

/// By default each thread has a heap. Directories that one thread merges and another one evicts would then fill all of
/// them, one after the other. The threads that serve requests allocate too seldom to wait for each other. Call it
/// before any thread is started.
void keep_one_heap();

}  // namespace pkgfs
