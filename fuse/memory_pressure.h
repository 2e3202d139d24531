// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string_view>

namespace pkgfs::fuse {

/// The share of the last ten seconds, in percent, in which some task waited for memory, from the text of a PSI file
/// (`some avg10=0.12 avg60=...`); nothing for any other text.
[[nodiscard]] std::optional<double> parse_pressure(std::string_view text);

/// Whether this process's cgroup (or, without cgroup v2, the machine) has to work to find memory. Reads two small files
/// of the kernel. False where the kernel doesn't say.
[[nodiscard]] bool is_memory_short();

}  // namespace pkgfs::fuse
