// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "core/base/unique_fd.h"
#include "core/vfs/file_system.h"

namespace pkgfs::vfs {

/// Says whether an entry is left out of listing and lookup: `path` relative to the root, without a leading "/".
class HostFilter {
 public:
  virtual ~HostFilter() = default;
  [[nodiscard]] virtual bool hidden(std::string_view path, bool is_directory) const = 0;
};

/// A host directory (or a single file), live and read-only. No way out of it: every access starts at the descriptor
/// that was opened at construction and follows no link (openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS); links
/// are shown as links. Only directories, regular files and links are shown. Inodes are counted: `forget` them.
///
/// What is mounted below the directory isn't shown either, and never touched (RESOLVE_NO_XDEV): it may be, or stand
/// upon, the very mount that this serves, which would wait for itself then.
class HostFileSystem final : public FileSystem {
 public:
  /// Takes over `root`, a descriptor of a directory (O_PATH will do) or of a regular file opened for reading. `name` is
  /// the host path, for messages. `filter` may be null.
  HostFileSystem(UniqueFd root, std::string name, std::shared_ptr<const HostFilter> filter = nullptr);
  ~HostFileSystem() override;

  [[nodiscard]] Inode root() const override;
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override;
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override;
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) override;
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) override;
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode inode) override;
  void forget(Inode inode, std::uint64_t count) override;
  [[nodiscard]] Result<Origin> origin(Inode inode) override;

 private:
  struct Node;
  [[nodiscard]] Result<UniqueFd> open_path(const Node& node, int flags) const;
  void drop(Node* node, std::uint64_t count);

  UniqueFd root_fd_;
  std::string name_;
  std::shared_ptr<const HostFilter> filter_;
  Node* root_;
};

}  // namespace pkgfs::vfs
