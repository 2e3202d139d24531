// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "daemon/csi/call.h"
#include "daemon/csi/node_volumes.h"

namespace pkgfs::csi {

/// The metrics of the driver, in the text format of Prometheus. Those of a mount are its own (`pkgfs stats`).
[[nodiscard]] std::string metrics_text(const CallCounts::Table& calls, const NodeVolumes::Counts& counts);

}  // namespace pkgfs::csi
