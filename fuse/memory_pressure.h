// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string_view>

namespace pkgfs::fuse {

/// In percent, for how much of the last ten seconds some task waited for memory, from the text of a PSI file
/// (`some avg10=0.12 avg60=...`). Nothing for any other text.
[[nodiscard]] std::optional<double> parse_pressure(std::string_view text);

/// Whether tasks of this process's cgroup (without cgroup v2: of the machine) wait for memory for more than 5 % of the
/// time. Reads two small files of the kernel. False if the kernel has no such files.
[[nodiscard]] bool is_memory_short();

}  // namespace pkgfs::fuse
