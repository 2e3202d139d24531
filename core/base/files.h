// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/base/function_ref.h"
#include "core/base/unique_fd.h"

/// Reads and writes files that other processes may read and write at the same time. A process that reads a file while
/// `write_file_atomically` replaces it sees either the old or the new content.
namespace pkgfs {

/// Makes the directory `path` and its missing parents, with mode 0700. Leaves an existing directory as it is. Throws
/// Error `Unable to create directory '{path}'`.
void make_private_directory(const std::string& path);
/// The Error for the directory `path`, which can't be made because of `errnum`.
[[nodiscard]] Error cannot_create_directory(const std::string& path, int errnum);

enum class Durability {
  kSynced,    // after a power cut, the file has either its old or its new content
  kUnsynced,  // after a power cut, the file may be old, empty or gone; for data that pkgfs can make again
};
/// Writes `text` to a temporary file beside `path`, and renames that to `path`. A new file has `mode`, less the umask;
/// if `path` is a regular file already, its mode stays. Throws Error naming `path`, and then leaves no temporary file.
void write_file_atomically(const std::string& path, std::string_view text, Durability durability, ::mode_t mode = 0600);

/// As `write_file_atomically`, for a file that a user named: synced, with mode 0666 less the umask. If `path` is a
/// symbolic link, its target is replaced, not the link. A file below /dev or /proc is written into, not replaced. So is
/// any other file that isn't regular, such as a pipe.
void write_named_file(const std::string& path, std::string_view text);

/// The content of the regular file at `path`; nothing if there is no file. Throws Error naming `path` if the file isn't
/// regular, can't be read, or has more than `limit` bytes.
[[nodiscard]] std::optional<std::string> read_small_file(const std::string& path, std::size_t limit);
/// The same for a file of pkgfs in a directory where other users may put a symbolic link in its place. Throws
/// Error(kCorrupt) for such a link.
[[nodiscard]] std::optional<std::string> read_own_file(const std::string& path, std::size_t limit);

/// The rest of the open file `fd`, from its position. Throws Error if it can't be read or has more than `limit` bytes;
/// the message begins with `failed`.
[[nodiscard]] std::string read_to_end(int fd, std::size_t limit, const std::string& failed);

/// Whether `path` is `directory` or lies below it. Only their components are compared, so both must be absolute and
/// without links.
[[nodiscard]] bool is_below(const std::filesystem::path& path, const std::filesystem::path& directory);

/// Writes all of `text` to `fd`. Throws Error naming `path`.
void write_all(int fd, std::string_view text, const std::string& path);
/// The same from the byte `offset` on. The position of `fd` stays.
void write_all_at(int fd, std::uint64_t offset, std::string_view text, const std::string& path);

/// Calls `consume` with all bytes of the file `fd`, piece by piece. The position of `fd` stays. Throws Error naming
/// `path`, and kInterrupted if the CancelScope of the thread is cancelled.
void read_pieces(int fd, const std::string& path, FunctionRef<void(std::span<const std::byte>)> consume);

/// The content of a file of the kernel, such as one in /proc or /sys, whose size isn't known beforehand. Nothing if the
/// file can't be read or has more than 64 KiB.
[[nodiscard]] std::optional<std::string> read_kernel_file(const std::string& path);

/// Syncs `directory`, so that renames and removals in it survive a power cut. Throws Error naming `directory`.
void sync_directory(const std::string& directory);

}  // namespace pkgfs
