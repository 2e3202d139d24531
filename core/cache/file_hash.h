// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>

#include "core/base/hash.h"

namespace pkgfs {

/// The SHA-256 of the regular file at `path`. Throws Error naming `path`, and Error(kInterrupted) (core/base/cancel.h).
[[nodiscard]] Sha256 hash_file(const std::string& path);

/// Computes such hashes and remembers them. It reads a file again only if its device, inode number, size, modification
/// time or change time has changed. Not thread-safe, unless `share` was called.
class FileHashes {
 public:
  /// Objects that are made from now on remember together, for a daemon that makes them again and again. Then different
  /// threads may use different objects. Call it before any thread is started.
  static void share();

  FileHashes();
  ~FileHashes();
  FileHashes(const FileHashes&) = delete;
  FileHashes& operator=(const FileHashes&) = delete;

  /// The hash of the file at `path`. The reference is valid until the next call. Throws as `hash_file`.
  [[nodiscard]] const Sha256& of(const std::string& path);

 private:
  struct State;
  static std::shared_ptr<State> shared_;
  std::shared_ptr<State> state_;
  Sha256 last_{};
};

}  // namespace pkgfs
