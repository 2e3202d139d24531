// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/base/unique_fd.h"

/// Files that other processes read and write at the same time. No reader ever sees a half-written one.
namespace pkgfs {

/// Makes the directory `path` and its missing parents, with mode 0700. Throws Error `Unable to create directory
/// '{path}'`.
void make_private_directory(const std::string& path);
/// The Error of a directory that can't be made.
[[nodiscard]] Error cannot_create_directory(const std::string& path, int errnum);

enum class Durability {
  kSynced,    // survives a power cut
  kUnsynced,  // after a power cut it may be old, empty or gone; for data that can be made again
};
/// Writes `text` to a temporary file beside `path` and renames it to `path`. A new file has `mode`, less the umask; an
/// existing one keeps its mode. Throws Error naming `path`, and then leaves no temporary file.
void write_file_atomically(const std::string& path, std::string_view text, Durability durability, ::mode_t mode = 0600);

/// As `write_file_atomically`, for a file that a user named: synced, with mode 0666 less the umask. The target of a
/// symbolic link is replaced, not the link. A file that isn't regular (/dev/stdout, a pipe) is written into.
void write_named_file(const std::string& path, std::string_view text);

/// The content of a regular file; nothing if it doesn't exist. Throws Error naming `path` if it can't be read or has
/// more than `limit` bytes.
[[nodiscard]] std::optional<std::string> read_small_file(const std::string& path, std::size_t limit);
/// The same for a file that pkgfs wrote, where other users may put a symbolic link: one is an Error(kCorrupt).
[[nodiscard]] std::optional<std::string> read_own_file(const std::string& path, std::size_t limit);

/// The rest of the open file `fd`. Throws Error with the message `failed` if it can't be read or has more than `limit`
/// bytes.
[[nodiscard]] std::string read_to_end(int fd, std::size_t limit, const std::string& failed);

/// Whether `path` is `directory` or below it, by their components alone: both must be absolute and without links.
[[nodiscard]] bool is_below(const std::filesystem::path& path, const std::filesystem::path& directory);

/// Writes all of `text` to `fd`. Throws Error naming `path`.
void write_all(int fd, std::string_view text, const std::string& path);

/// The content of a file of the kernel, such as those in /proc and /sys, which tell no size beforehand. Nothing if it
/// can't be read.
[[nodiscard]] std::optional<std::string> read_kernel_file(const std::string& path);

/// Syncs `directory`, so that renames and removals in it survive a power cut. Throws Error.
void sync_directory(const std::string& directory);

}  // namespace pkgfs
