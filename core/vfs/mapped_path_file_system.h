// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/vfs/file_system.h"

namespace pkgfs::vfs {

/// Another file system's subtree `original_path` shown at `mount_path`. The ancestors of the mount path exist as
/// synthetic directories with one entry each. Works on names and inodes, so listings are always right
/// (docs/rules/filesystem.md, 3).
class MappedPathFileSystem final : public FileSystem {
 public:
  /// Both paths absolute and normal. `original_path` may be a file: the mount path is that file then. Fails with the
  /// errno of walking `original_path`, e.g. ENOENT; `inner` is lost then.
  [[nodiscard]] static Result<std::unique_ptr<FileSystem>> make(std::unique_ptr<FileSystem> inner,
                                                                const std::string& original_path,
                                                                const std::string& mount_path);
  ~MappedPathFileSystem() override;

  [[nodiscard]] Inode root() const override;
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override;
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override;
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) override;
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) override;
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode inode) override;
  [[nodiscard]] Result<Extent> extent(Inode inode) override;
  [[nodiscard]] bool is_immutable() const override { return inner_->is_immutable(); }
  void forget(Inode inode, std::uint64_t count) override;
  [[nodiscard]] Result<Origin> origin(Inode inode) override;

 private:
  MappedPathFileSystem(std::unique_ptr<FileSystem> inner, Inode inner_root, const std::string& mount_path);

  // Inodes 1 to depth are the ancestors; the inner ones follow, moved up by depth.
  [[nodiscard]] Inode depth() const { return names_.size(); }
  [[nodiscard]] bool is_ancestor(Inode inode) const { return inode <= depth(); }
  [[nodiscard]] Inode to_inner(Inode inode) const { return inode - depth(); }
  [[nodiscard]] Inode from_inner(Inode inode) const { return inode + depth(); }
  [[nodiscard]] Result<Entry> child_of_ancestor(Inode ancestor);

  std::unique_ptr<FileSystem> inner_;
  Inode inner_root_;  // holds a reference
  std::vector<std::string> names_;
};

}  // namespace pkgfs::vfs
