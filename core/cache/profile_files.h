// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/hash.h"

/// The profiles of accesses (core/lazy/access_profile.h) of containers, as files `{SHA-256 in hex}.profile` in the
/// directory of the cache by hash. This doesn't know what is in them. A profile stays when its container is removed,
/// because the next mount that fetches the container needs it.
namespace pkgfs::profile_files {

/// The most profiles in a directory. One more removes the longest unused. A profile has 29 KB or less, and usually 1.
inline constexpr std::size_t kMost = 500;

struct File {
  Sha256 hash{};  // of the container
  std::string path;
  std::uint64_t size = 0;
  std::chrono::system_clock::time_point used;  // when it was last read (`read`) or replaced
};

/// All profiles, sorted by hash. A missing or unreadable directory has none.
[[nodiscard]] std::vector<File> list(const std::string& directory);
/// The text of the profile of `hash`, and marks it as used now. Nothing if there is none, if it has more than `limit`
/// bytes, or if it can't be read.
[[nodiscard]] std::optional<std::string> read(const std::string& directory, const Sha256& hash, std::size_t limit);
/// Makes or replaces the profile of `hash`; a reader sees the old or the new text. Removes the longest unused profiles
/// beyond `most`. Throws Error.
void write(const std::string& directory, const Sha256& hash, std::string_view text, std::size_t most = kMost);
/// Removes a profile, which may be gone already. Throws Error naming it.
void remove(const File& file);

}  // namespace pkgfs::profile_files
