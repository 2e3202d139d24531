// SPDX-License-Identifier: MIT
#pragma once

#include "core/base/cancel.h"
#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/doctor/finding.h"

namespace pkgfs::doctor {

/// Checks the settings, the cache, and whether each registry answers. With `--offline`, registries on the network are
/// not asked.
void check_packages(Findings& findings, const NetworkFlags& flags, const Environment& environment,
                    const CancelFlag& interrupt);

}  // namespace pkgfs::doctor
