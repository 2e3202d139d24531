// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string_view>

namespace pkgfs::fuse {

/// Parses the text of a PSI file of the kernel (`some avg10=0.12 avg60=...`). Returns the share of the last ten seconds
/// in which at least one task waited for memory, in percent. Nothing for any other text.
[[nodiscard]] std::optional<double> parse_pressure(std::string_view text);

/// Whether tasks of this process's cgroup (without cgroup v2: of the machine) wait for memory for more than 5 % of the
/// time. Reads two small files of the kernel. False if the kernel has no such files.
[[nodiscard]] bool is_memory_short();

}  // namespace pkgfs::fuse
