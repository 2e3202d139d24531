// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/unique_fd.h"
#include "core/vfs/file_system.h"
#include "core/vfs/host_root.h"

namespace pkgfs::vfs {

/// A host directory (or a single file), live and read-only. Shows directories, regular files, and symbolic links as
/// links. Inodes are counted: callers `forget` them.
///
/// The inode of a regular file belongs to the host's inode that was looked up. If its path leads to another one now,
/// `metadata` and `open` fail with ESTALE: the caller must look the name up anew. The inode of a directory belongs to
/// its path.
///
/// No access leaves the directory: each starts at the descriptor of that directory and follows no link (openat2 with
/// RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS). Mount points below it are hidden and never touched (RESOLVE_NO_XDEV). One
/// of them may be the mount that shows this directory, which would then wait for itself.
///
/// With a HostWay, shows the directory that its path leads to now; while it leads to none, shows an empty directory.
/// HostRoot says when the path is followed anew.
class HostFileSystem final : public FileSystem {
 public:
  /// `root` is a descriptor of a directory (O_PATH is enough) or of a regular file that is open for reading. `name` is
  /// the host path, for messages. `filter` and `way` may be null.
  HostFileSystem(UniqueFd root, std::string name, std::shared_ptr<const HostFilter> filter = nullptr,
                 std::shared_ptr<const HostWay> way = nullptr);
  ~HostFileSystem() override;

  [[nodiscard]] Inode root() const override;
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override;
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override;
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) override;
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) override;
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode inode) override;
  [[nodiscard]] bool watch(Inode dir, HostWatcher& watcher, std::uint64_t watch) override;
  void forget(Inode inode, std::uint64_t count) override;
  [[nodiscard]] Result<Origin> origin(Inode inode) override;
  [[nodiscard]] std::uint64_t device() const override { return device_; }
  void number_hosts(const HostNumbers& numbers) override { numbers_ = numbers; }

 private:
  struct Node;
  [[nodiscard]] Result<UniqueFd> open_path(const Node& node, int flags);
  void drop(Node* node, std::uint64_t count);

  std::uint64_t device_;
  HostNumbers numbers_;
  Node* root_;
  std::shared_ptr<HostRoot> shown_;
};

}  // namespace pkgfs::vfs
