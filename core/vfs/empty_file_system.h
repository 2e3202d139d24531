// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "core/vfs/file_system.h"

namespace pkgfs::vfs {

/// A root directory without entries: the tree of a package without mappings.
class EmptyFileSystem final : public FileSystem {
 public:
  explicit EmptyFileSystem(std::int64_t modified = 1) : modified_(modified) {}

  [[nodiscard]] Inode root() const override { return 1; }
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override;
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override;
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) override;
  [[nodiscard]] Result<std::uint64_t> parent_number(Inode dir) override;
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) override;
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode inode) override;
  [[nodiscard]] bool is_immutable() const override { return true; }

 private:
  std::int64_t modified_;
};

}  // namespace pkgfs::vfs
