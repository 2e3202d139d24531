// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/vfs/file_system.h"

namespace pkgfs::vfs {

/// Shows the subtree `original_path` of another file system at `mount_path`. The ancestors of the mount path are
/// synthetic directories with one entry each. Maps inodes, not paths, so that listings are always right
/// (docs/rules/filesystem.md, 3).
class MappedPathFileSystem final : public FileSystem {
 public:
  /// Both paths are absolute and normal. If `original_path` is a file, so is the mount path. The ancestors have the
  /// modified time `modified`. Fails with the errno of the look-up of `original_path`, such as ENOENT, and releases
  /// `inner` then.
  [[nodiscard]] static Result<std::unique_ptr<FileSystem>> make(std::shared_ptr<FileSystem> inner,
                                                                const std::string& original_path,
                                                                const std::string& mount_path,
                                                                std::int64_t modified = 1);
  /// Like `make`, for an `original_path` that was looked up already. `inner_root` is its entry in `inner`, with a
  /// reference that this file system takes over.
  MappedPathFileSystem(std::shared_ptr<FileSystem> inner, const Entry& inner_root, const std::string& original_path,
                       const std::string& mount_path, std::int64_t modified);
  ~MappedPathFileSystem() override;

  [[nodiscard]] Inode root() const override;
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override;
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override;
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) override;
  [[nodiscard]] Result<void> list_stored(Inode dir, std::uint64_t from, StoredVisitor visit) override;
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) override;
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode inode) override;
  [[nodiscard]] Result<Extent> extent(Inode inode) override;
  [[nodiscard]] bool is_immutable() const override { return inner_->is_immutable(); }
  [[nodiscard]] bool is_intact(Inode /*inode*/) override { return inner_->is_intact(inner_root_); }
  [[nodiscard]] bool watch(Inode dir, HostWatcher& watcher, std::uint64_t watch) override;
  void forget(Inode inode, std::uint64_t count) override;
  [[nodiscard]] Result<Origin> origin(Inode inode) override;
  [[nodiscard]] std::uint64_t numbers() const override { return depth() + inner_->numbers(); }
  [[nodiscard]] Result<std::string> path_of_number(std::uint64_t number) override;
  [[nodiscard]] std::uint64_t fingerprint() const override;
  [[nodiscard]] std::uint64_t device() const override { return inner_->device(); }
  void number_hosts(const HostNumbers& numbers) override { inner_->number_hosts(numbers); }

 private:
  // Inodes 1 to `depth` are the ancestors. An inode of `inner_` is shown as an inode that is higher by `depth`. The
  // same holds for the numbers.
  [[nodiscard]] Inode depth() const { return ends_.size(); }
  /// The name that is the one entry of `ancestor`.
  [[nodiscard]] std::string_view name_in(Inode ancestor) const;
  [[nodiscard]] bool is_ancestor(Inode inode) const { return inode <= depth(); }
  [[nodiscard]] Inode to_inner(Inode inode) const { return inode - depth(); }
  [[nodiscard]] Inode from_inner(Inode inode) const { return inode + depth(); }
  [[nodiscard]] Result<Entry> child_of_ancestor(Inode ancestor);
  [[nodiscard]] Attributes attributes_of_ancestor(Inode ancestor) const;
  [[nodiscard]] Result<Attributes> attributes_of_inner_root();
  [[nodiscard]] Attributes from_inner(Attributes attributes) const;
  [[nodiscard]] DirEntry from_inner(const DirEntry& inner) const;

  std::shared_ptr<FileSystem> inner_;
  Inode inner_root_;                 // holds a reference
  std::uint64_t inner_root_number_;  // `metadata` need not know it
  std::string original_path_;
  std::string mount_path_;
  std::vector<std::uint32_t> ends_;  // of the names in the mount path: a tree may have thousands of long ones
  Attributes ancestor_;              // of all ancestors, but for their numbers
};

}  // namespace pkgfs::vfs
