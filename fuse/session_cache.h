// SPDX-License-Identifier: MIT
#pragma once

#include <utility>

#include "fuse/kernel_cache.h"
#include "fuse/own_mount.h"

struct fuse_session;

namespace pkgfs::fuse {

/// The kernel's caches of a mounted session: FUSE_NOTIFY_STORE, and listing the mount from this process.
class SessionCache final : public KernelCache {
 public:
  /// `session` must outlive this and is mounted as `own_mount`.
  SessionCache(fuse_session* session, OwnMount own_mount) : session_(session), own_mount_(std::move(own_mount)) {}

  [[nodiscard]] int store(vfs::Inode file, std::span<const std::byte> content) override;
  [[nodiscard]] int list(const std::string& path, std::uint64_t from) override { return own_mount_.list(path, from); }
  void end_listing() override { own_mount_.leave(); }
  [[nodiscard]] bool is_memory_short() override;

 private:
  fuse_session* session_;
  OwnMount own_mount_;
};

}  // namespace pkgfs::fuse
