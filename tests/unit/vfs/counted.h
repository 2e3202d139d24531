// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <utility>

#include "core/vfs/file_system.h"

namespace pkgfs::test {

/// A file system that counts what it is asked. Hands everything else through.
class Counted final : public vfs::FileSystem {
 public:
  explicit Counted(std::shared_ptr<vfs::FileSystem> inner) : inner_(std::move(inner)) {}

  [[nodiscard]] vfs::Inode root() const override { return inner_->root(); }
  [[nodiscard]] Result<vfs::Entry> lookup(vfs::Inode dir, std::string_view name) override {
    ++work;
    return inner_->lookup(dir, name);
  }
  [[nodiscard]] Result<vfs::Attributes> metadata(vfs::Inode inode) override { return inner_->metadata(inode); }
  [[nodiscard]] Result<void> read_dir(vfs::Inode dir, std::uint64_t from,
                                      FunctionRef<bool(const vfs::DirEntry&)> visit) override {
    ++work;
    return inner_->read_dir(dir, from, [&](const vfs::DirEntry& entry) {
      ++work;
      return visit(entry);
    });
  }
  [[nodiscard]] Result<std::string_view> read_link(vfs::Inode inode) override { return inner_->read_link(inode); }
  [[nodiscard]] Result<std::unique_ptr<vfs::OpenFile>> open(vfs::Inode inode) override { return inner_->open(inode); }
  [[nodiscard]] bool is_immutable() const override { return true; }
  [[nodiscard]] std::uint64_t numbers() const override { return inner_->numbers(); }

  /// Look-ups, listings and listed entries.
  std::size_t work = 0;

 private:
  std::shared_ptr<vfs::FileSystem> inner_;
};

}  // namespace pkgfs::test
