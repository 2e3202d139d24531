// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// The files that `find_artifact` (artifact.h) keeps in the directory `oci` of the cache, below a directory for each
/// login: `open` for what registries show without one, or a hash. Their names are a SHA-256 in hex and an ending.
namespace pkgfs::artifact_files {

/// A manifest or a lock file; the hash is that of the content.
inline constexpr std::string_view kDocument = ".json";
/// The digest that a tag led to; the hash is that of the artifact's name.
inline constexpr std::string_view kTag = ".tag";
/// `http` or `https`; the hash is that of the repository's name.
inline constexpr std::string_view kScheme = ".scheme";

/// The directory of what registries show without a login.
inline constexpr std::string_view kOpen = "open";

struct File {
  std::string hash;       // in hex
  std::string directory;  // of the login
  std::string name;
  std::uint64_t size = 0;
  std::chrono::system_clock::time_point used;  // the later one of its access time and its modification time

  [[nodiscard]] std::string path() const { return directory + "/" + name; }
};

/// All such files in the directories of logins below `directory`, sorted by path. A missing or unreadable directory
/// has none. A directory of a login isn't used if another user may have put a link there (PrivateDirectory::find).
[[nodiscard]] std::vector<File> list(const std::string& directory);
/// What is wrong with the content of a file, for which it is never used; empty if nothing is, or if the file is gone.
/// Throws Error naming the file if it can't be read.
[[nodiscard]] std::string damage_of(const File& file);
/// Removes a file, which may be gone already, and the directory of its login if no other file is there. A process that
/// is about to write to that directory then keeps nothing, and the next one asks the registry again. Throws Error
/// naming the file.
void remove(const File& file);
/// Removes the temporary files that killed processes left (write_file_atomically), if they were last modified `age` ago
/// or earlier. Returns how many bytes that frees. With `dry_run`, removes nothing.
std::uint64_t remove_leftovers(const std::string& directory, std::chrono::seconds age, bool dry_run);

}  // namespace pkgfs::artifact_files
