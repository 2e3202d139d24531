// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "daemon/observe/lazy_state.h"
#include "daemon/observe/mount_facts.h"
#include "fuse/statistics.h"

namespace pkgfs {

/// One metric of a mount, and a row of docs/METRICS.md, which a test compares.
struct MetricSpec {
  std::string_view name;
  std::string_view type;       // counter, gauge or histogram
  std::string_view labels;     // comma-separated
  std::string_view stability;  // "stable": kept, or replaced with notice; "experimental": may change
  std::string_view help;
};

[[nodiscard]] std::span<const MetricSpec> metric_table();

/// All metrics in the Prometheus text format 0.0.4, with those of the process (`process_*`). Every series exists from
/// the start, except error counts of other kinds than EIO: each appears with its first error. Thread-safe.
[[nodiscard]] std::string metrics_text(const MountFacts& facts, const fuse::Snapshot& counts,
                                       const std::optional<LazyState>& lazy);

}  // namespace pkgfs
