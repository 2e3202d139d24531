// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/vfs/file_system.h"

namespace pkgfs::fuse {

/// The kernel's caches of one mount, as ContentPrefetcher fills them; a seam for its tests. Functions return 0 or an
/// errno. For one thread, which must not answer requests: the kernel may make it wait for replies.
class KernelCache {
 public:
  virtual ~KernelCache() = default;

  /// Puts `content` into the page cache as the beginning of `file`. With no content it only asks whether the kernel
  /// knows the file. ENOENT: the kernel doesn't know it; ENOMEM: the kernel has no memory for it.
  [[nodiscard]] virtual int store(vfs::Inode file, std::span<const std::byte> content) = 0;
  /// Makes the kernel know some two hundred entries of a directory, from position `from` of its listing on (as in a
  /// reply to READDIR). `path` is relative to the mount's root, "." for the root. EPERM, ENOSYS: not possible here.
  [[nodiscard]] virtual int list(const std::string& path, std::uint64_t from) = 0;
  /// Lets go of the mount, which `list` keeps in use; call it after the last `list` of a run.
  virtual void end_listing() = 0;
  /// Whether memory is so short that nothing should be cached.
  [[nodiscard]] virtual bool is_memory_short() = 0;
};

}  // namespace pkgfs::fuse
