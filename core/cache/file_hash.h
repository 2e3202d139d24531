// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>

#include "core/base/hash.h"

namespace pkgfs {

/// The SHA-256 of the regular file at `path`. Throws Error naming `path`, and Error(kInterrupted) (core/base/cancel.h).
[[nodiscard]] Sha256 hash_file(const std::string& path);

/// The same with a memory: a file is read again only when its device, inode, size or times changed. Not thread-safe.
class FileHashes {
 public:
  FileHashes();
  ~FileHashes();
  FileHashes(const FileHashes&) = delete;
  FileHashes& operator=(const FileHashes&) = delete;

  /// Valid until the next call. Throws Error naming `path`.
  [[nodiscard]] const Sha256& of(const std::string& path);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pkgfs
