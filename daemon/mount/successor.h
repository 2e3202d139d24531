// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <optional>

#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/mount/predecessor.h"
#include "daemon/mount/service_manager.h"

// A process that goes on with the mount of the daemon before (its predecessor).
namespace pkgfs {

/// Whether a keeper has started this process (keeper::kVariable).
[[nodiscard]] bool is_successor(const Environment& environment);
/// Goes on with a served directory until it ends. Returns the exit code. Throws Error.
using ResumeServing = std::function<int(Predecessor predecessor, const MountOptions& options, const Io& io)>;
/// Goes on with the mount that was handed over to this process, until it ends. Returns the exit code. Logs errors to
/// the system's log.
[[nodiscard]] int run_successor(const Io& io, const ResumeServing& resume_serving);

/// The mount of an earlier process of the same unit, if the service manager has kept its descriptors (keeping.h). If it
/// can't be used, or isn't the mount that `options` ask for, ends that mount and returns nothing.
[[nodiscard]] std::optional<Predecessor> stored_mount(const MountOptions& options, ServiceManager& manager);
/// Goes on with that mount until it ends. Returns and throws as serve_mount does.
[[nodiscard]] int serve_stored_mount(Predecessor predecessor, const MountOptions& options, const Io& io,
                                     ServiceManager& manager);

}  // namespace pkgfs
