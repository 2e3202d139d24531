// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/vfs/file_system.h"
#include "core/vfs/label.h"

namespace pkgfs::vfs {

/// A file of a StaticFileSystem.
struct StaticFile {
  std::string path;  // absolute, normal
  Blob content;
  std::uint16_t mode = 0644;
  std::int64_t modified = 1;
  std::optional<Sha256> sha256 = std::nullopt;
  Label package = {};  // for `origin`
};

/// A tree of files that are given at construction, with the directories that their paths need. For example, the
/// commands of a tree are such a file system, and so is the metadata volume of a directory package. If two files have
/// the same path, or one lies below the path of the other, the first is kept.
class StaticFileSystem final : public FileSystem {
 public:
  /// `directory_modified` is the modified time of all directories.
  explicit StaticFileSystem(std::vector<StaticFile> files, std::int64_t directory_modified = 1);

  [[nodiscard]] Inode root() const override { return 1; }
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override;
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override;
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) override;
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) override;
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode inode) override;
  [[nodiscard]] Result<Extent> extent(Inode inode) override;
  [[nodiscard]] bool is_immutable() const override { return true; }
  [[nodiscard]] std::uint64_t numbers() const override { return nodes_.size(); }
  [[nodiscard]] Result<std::string> path_of_number(std::uint64_t number) override;
  [[nodiscard]] std::uint64_t fingerprint() const override;
  [[nodiscard]] Result<Origin> origin(Inode inode) override;

 private:
  struct Node {
    bool directory = true;
    StaticFile file;
    std::vector<std::pair<std::string, Inode>> children;  // sorted
  };
  [[nodiscard]] const Node& node(Inode inode) const { return nodes_[inode - 1]; }

  std::vector<Node> nodes_;  // an inode is its index + 1
  std::int64_t directory_modified_;
};

}  // namespace pkgfs::vfs
