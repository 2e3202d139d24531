// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace pkgfs::test {

constexpr std::int64_t kSecond = 1'000'000'000;  // of `TreeEntry::mtime_ns`

/// One entry as the golden files describe it.
struct TreeEntry {
  std::string type;  // "dir", "file", "symlink", or "other"
  std::uint64_t length = 0;
  std::int64_t mtime_ns = 0;
  std::string sha256 = {};  // of a file's content, hex
  std::string target = {};  // of a link

  bool operator==(const TreeEntry&) const = default;
};

/// By absolute path; the root isn't in it.
using Tree = std::map<std::string, TreeEntry>;

struct ListOptions {
  bool content = true;  // read and hash the files
  std::size_t most_entries = 200'000;
  std::size_t deepest = 5'000;
};

/// What is below `root`, by lstat, readlink and read: never follows a link. Throws std::runtime_error with the path and
/// the errno when a call fails, or when a bound of `options` is passed.
[[nodiscard]] Tree list_tree(const std::filesystem::path& root, const ListOptions& options = {});

/// From the entries of `expected/**` and of `trees/**`. Directory lengths aren't compared: 0 there, 4096 in `stat`.
[[nodiscard]] Tree tree_from_json(const nlohmann::ordered_json& entries);

/// What differs, one line an entry, at most twenty; empty when both are equal.
[[nodiscard]] std::string difference(const Tree& expected, const Tree& actual);

/// Hex SHA-256 of a whole file. Throws std::runtime_error.
[[nodiscard]] std::string file_sha256(const std::filesystem::path& path);

/// The inode numbers of everything below `root`, by path; `readdir` and `lstat` are checked to agree.
[[nodiscard]] std::map<std::string, std::uint64_t> inode_numbers(const std::filesystem::path& root);

}  // namespace pkgfs::test
