// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>

namespace pkgfs {

/// The lowest memory limit, in bytes, of this process's control group and the groups above it. It is memory.max or
/// memory.high in version 2 of control groups: above memory.high, the kernel slows the processes of the group down. In
/// version 1, it is memory.limit_in_bytes or memory.soft_limit_in_bytes. Nothing if none can be read. Read once.
[[nodiscard]] std::optional<std::uint64_t> control_group_limit();
/// The same, read each time. `root` is the directory with `proc` and `sys`. Only tests pass another directory than "/".
[[nodiscard]] std::optional<std::uint64_t> control_group_limit(const std::filesystem::path& root);

/// The memory that a tree may use for merged directories, in bytes. This is `asked` if it is given. Otherwise it is the
/// default of vfs::OverlayOptions, or a 16th of `limit` if that is less, but at least 1 MiB. So ten mounts have room in
/// one control group.
[[nodiscard]] std::size_t directory_memory(std::optional<std::uint64_t> asked, std::optional<std::uint64_t> limit);

/// How many bytes the daemon may prefetch into the page cache before the next read, if its control group has this
/// `limit`.
[[nodiscard]] std::uint64_t page_cache_ahead(std::optional<std::uint64_t> limit);

}  // namespace pkgfs
