// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>

#include "core/base/hash.h"

namespace pkgfs {

/// The SHA-256 of the regular file at `path`. Throws Error naming `path`, and Error(kInterrupted) (core/base/cancel.h).
[[nodiscard]] Sha256 hash_file(const std::string& path);

/// Computes such hashes and remembers them. It reads a file again only if its device, inode number, size, modification
/// time or change time has changed. Not thread-safe.
class FileHashes {
 public:
  FileHashes();
  ~FileHashes();
  FileHashes(const FileHashes&) = delete;
  FileHashes& operator=(const FileHashes&) = delete;

  /// The hash of the file at `path`. The reference is valid until the next call. Throws as `hash_file`.
  [[nodiscard]] const Sha256& of(const std::string& path);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pkgfs
