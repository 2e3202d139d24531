// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Functions on the text of paths; none accesses a file system. Paths are absolute and normal ("/", "/a/b"), except for
/// the texts of symbolic links.
namespace pkgfs::vfs {

/// The components of a path or of the text of a link. Leaves out empty ones and "."; ".." stays.
[[nodiscard]] std::vector<std::string_view> path_components(std::string_view path);
[[nodiscard]] std::string join_path(std::string_view dir, std::string_view name);
/// The path of `components`, below "/".
[[nodiscard]] std::string absolute_path(const std::vector<std::string_view>& components);

/// Whether `path` is `prefix` or lies below it.
[[nodiscard]] bool path_covers(std::string_view prefix, std::string_view path);
/// Whether `a` comes before `b`, in an order where a path is directly followed by the paths below it.
[[nodiscard]] bool path_before(std::string_view a, std::string_view b);
/// The number of components; 0 for "/".
[[nodiscard]] std::size_t path_depth(std::string_view path);
/// The part of `path` after `prefix`, which must cover `path`: "/" or "/rest".
[[nodiscard]] std::string_view path_below(std::string_view prefix, std::string_view path);

/// The number (st_ino) of the root (docs/rules/filesystem.md, 9.6).
inline constexpr std::uint64_t kRootNumber = 1;
/// The number of the entry `name` of the directory numbered `parent`, if no layer knows a number: for a live entry
/// without attributes. A hash of `parent` and `name` with the top bit clear, never 0 or 1.
[[nodiscard]] std::uint64_t path_number(std::uint64_t parent, std::string_view name);
/// The number of a live host entry whose own number can't be shown: top bit set, the same for all links to one file.
[[nodiscard]] std::uint64_t host_number(std::uint64_t device, std::uint64_t inode);

/// Adds `value` to a hash.
[[nodiscard]] std::uint64_t hash_of(std::uint64_t hash, std::uint64_t value);
[[nodiscard]] std::uint64_t hash_of(std::uint64_t hash, std::string_view text);

/// A mapping shows `source_path` of a volume at `mount_path`.
struct Mapping {
  std::string_view mount_path;
  std::string_view source_path;
};

/// Whether a relative link with the text `target`, in a directory `depth` levels below a root, leads above that root.
[[nodiscard]] bool link_climbs(std::string_view target, std::size_t depth);
/// The text to show for a symbolic link in the visible directory `dir` of a mapping; `target` is the stored text.
/// Nothing if `target` is relative and climbs neither above the root of the volume nor above that of the tree. Then the
/// stored text is shown (docs/rules/filesystem.md, 9.4).
[[nodiscard]] std::optional<std::string> clamp_link(std::string_view target, std::string_view dir,
                                                    const Mapping& mapping);

}  // namespace pkgfs::vfs
