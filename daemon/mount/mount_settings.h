// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "daemon/cli/options.h"
#include "daemon/observe/mount_facts.h"
#include "daemon/packages/open_tree.h"
#include "fuse/adapter.h"
#include "fuse/content_prefetcher.h"
#include "fuse/cpu_latency.h"
#include "fuse/session.h"
#include "fuse/usage.h"

// What the options of the command line mean for the parts of a mount.
namespace pkgfs {

/// Whether the mount counts from the start what the kernel knows of its tree, so that it can close the tree once a
/// later version has replaced it. This costs some nanoseconds a request, and files aren't prefetched.
[[nodiscard]] bool is_made_to_be_refreshed(const MountOptions& options);
/// Why a mount of `tree` can't show another version of its package; empty: it can.
[[nodiscard]] std::string refresh_obstacle(vfs::FileSystem& tree, bool follows_manifest);
/// The source that df(1) shows for a mount of `package`: the package's id, or its absolute path if its id is a hash.
[[nodiscard]] std::string mount_source(const OpenedTree& opened, const std::string& package);

[[nodiscard]] std::vector<std::string> ids_of(const LoadedPackages& packages);
[[nodiscard]] MountFacts mount_facts(const PackageTree& tree, std::string source, const std::string& mountpoint);

[[nodiscard]] fuse::CpuLatency::Use cpu_latency_use(std::optional<bool> asked);
/// `is_kept`: another daemon may go on with the mount.
[[nodiscard]] fuse::AdapterOptions adapter_options(const MountOptions& options, std::function<fuse::Usage()> usage,
                                                   fuse::ContentPrefetcher* prefetcher, fuse::CpuLatency& cpu_latency,
                                                   bool is_kept, std::function<std::string()> stats);
[[nodiscard]] fuse::MountSettings mount_settings(const MountOptions& options, const MountFacts& facts);
[[nodiscard]] fuse::ServerOptions server_options(const MountOptions& options,
                                                 const fuse::ContentPrefetcher* prefetcher);

}  // namespace pkgfs
