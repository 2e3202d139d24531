// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/hash.h"
#include "core/package/package_info.h"

namespace pkgfs {

/// The SHA-256 of the regular file at `path`, read from start to end. Throws Error naming `path`.
[[nodiscard]] Sha256 hash_file(const std::string& path);

/// The same with a memory: a file is read again only when its device, inode, size or times changed. Not thread-safe.
class FileHashes {
 public:
  FileHashes();
  ~FileHashes();
  FileHashes(const FileHashes&) = delete;
  FileHashes& operator=(const FileHashes&) = delete;
  [[nodiscard]] const Sha256& of(const std::string& path);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Whether `path` is a regular file that starts with the magic of a container. False for what can't be read.
[[nodiscard]] bool has_container_magic(const std::string& path);

/// Where a local file is: `file://` URL, absolute path, no hash.
[[nodiscard]] DistributionInfo local_distribution(const std::string& path);

/// What the container at `path` says about itself: id by its manifest, else its hash, which is computed only when
/// somebody looks at it (the file is not hashed here). Throws Error naming `path`.
[[nodiscard]] PackageSummary container_summary(const std::string& path);
/// The same for a package that is called `id`, whatever its manifest says.
[[nodiscard]] PackageSummary container_summary(const std::string& path, PackageId id);

/// A directory walk: regular files (or, where a link leads nowhere, the link) below `dir`, with `dir` in front, in byte
/// order. Links are followed, each directory is visited once (so loops end), at most `depth` levels deep (1: only `dir`
/// itself). Throws Error if `dir` can't be read; directories below it that can't are logged and left out.
[[nodiscard]] std::vector<std::string> files_below(const std::string& dir, std::size_t depth);

}  // namespace pkgfs
