// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>

namespace pkgfs {

/// The lowest memory limit that a control group sets for this process, in bytes: that of its own group or of one above
/// it (memory.max of version 2, memory.limit_in_bytes of version 1). Nothing if none can be read. `root` is "/" but in
/// tests.
[[nodiscard]] std::optional<std::uint64_t> control_group_limit(const std::filesystem::path& root = "/");

/// The memory that a tree may use for merged directories, in bytes: `asked`, or what suits `limit`, which leaves room
/// for ten mounts in one control group.
[[nodiscard]] std::size_t directory_memory(std::optional<std::uint64_t> asked, std::optional<std::uint64_t> limit);

/// How many bytes of the page cache may be filled ahead of readers under `limit`.
[[nodiscard]] std::uint64_t page_cache_ahead(std::optional<std::uint64_t> limit);

}  // namespace pkgfs
