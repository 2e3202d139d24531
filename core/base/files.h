// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "core/base/cancel.h"
#include "core/base/unique_fd.h"

/// Files that other processes read and write at the same time: nobody ever sees half of one.
namespace pkgfs {

/// Makes `path` and what is missing above it, with mode 0700. Throws Error `Unable to create directory '{path}'`.
void make_private_directory(const std::string& path);

enum class Durability {
  kSynced,    // survives a power cut
  kUnsynced,  // after a power cut it may be old, empty or gone: for what can be had again
};
/// Writes `text` to a temporary file beside `path` and renames it to `path`. Throws Error naming `path`; nothing is
/// left then. A new file has `mode` without what the umask takes; one that was there keeps its own.
void write_file_atomically(const std::string& path, std::string_view text, Durability durability, ::mode_t mode = 0600);

/// The same for a file that a user named, synced and for everybody whom the umask lets: a link stays one, and what is
/// no regular file (/dev/stdout, a pipe) is written into, not replaced.
void write_named_file(const std::string& path, std::string_view text);

/// The content of a regular file; nothing if there is none. Throws Error naming `path` when it can't be read or is
/// larger than `limit` bytes.
[[nodiscard]] std::optional<std::string> read_small_file(const std::string& path, std::size_t limit);

/// Makes renames and removals in `directory` last. Throws Error.
void sync_directory(const std::string& directory);

/// An exclusive lock between processes and between threads of one: flock on the file `path`, which exists while
/// somebody has or wants the lock. The kernel releases it when the process dies.
class FileLock {
 public:
  /// Waits until nobody else has it. Throws Error naming `path`; Error(kInterrupted) when cancelled.
  FileLock(std::string path, const CancelFlag& cancel);
  ~FileLock();
  FileLock(FileLock&&) = default;
  FileLock& operator=(FileLock&&) = delete;

 private:
  std::string path_;
  UniqueFd fd_;
};

}  // namespace pkgfs
