// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/vfs/file_system.h"
#include "core/vfs/merge.h"

namespace pkgfs::vfs {

struct OverlayOptions {
  Conflicts conflicts = Conflicts::kMerge;
  /// Show link texts as stored, even where they lead out of the mount.
  bool raw_links = false;
};

/// A path where one layer hides a file of another, or a file hides something.
struct OverlayConflict {
  std::string path;
  std::string winner;
  std::string loser;
};

/// Layers on top of each other as one tree: the first wins, directories merge (merge.h). The layers never change.
///
/// A directory is merged when it is first touched, into one array of nodes sorted by name; that happens once, under one
/// of a few locks. Afterwards `lookup` is a binary search, `metadata` a load, `read_dir` a walk: no lock, no
/// allocation, no call into a layer. An inode is the address of its node; nodes live as long as the file system, so
/// `forget` has nothing to do. Names and link texts stay in the mapping that they come from. A node takes 80 bytes.
class OverlayFileSystem : public FileSystem {
 public:
  /// `layers` in order of precedence, at least one, each with a directory as root. None may be live.
  OverlayFileSystem(std::vector<Layer> layers, const OverlayOptions& options);
  ~OverlayFileSystem() override;

  [[nodiscard]] Inode root() const final;
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) final;
  [[nodiscard]] Result<Attributes> metadata(Inode inode) final;
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) final;
  [[nodiscard]] Result<std::uint64_t> parent_number(Inode dir) final;
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) final;
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode inode) final;
  [[nodiscard]] Result<Extent> extent(Inode inode) final;
  [[nodiscard]] Result<Place> place(Inode inode) final;
  [[nodiscard]] bool is_immutable() const final;
  [[nodiscard]] Result<Origin> origin(Inode inode) final;

  /// The path of `inode` in this tree. Not on the hot path.
  [[nodiscard]] std::string path_of(Inode inode) const;
  /// Merges every directory and returns the conflicts found. EIO-directories are passed over.
  [[nodiscard]] std::vector<OverlayConflict> visit_all();

 private:
  struct Node;
  struct Directory;
  struct Content;

  [[nodiscard]] static Attributes attributes(const Node& node);
  [[nodiscard]] Result<const Content*> content(const Node& node);
  [[nodiscard]] const Content* merge(Directory& dir);
  void fill(Content& content, Directory& dir, std::vector<struct NamedCandidate>& named);
  void fill_node(Node& node, Content& content, const Directory& dir, std::string_view name,
                 std::vector<Candidate>& candidates);
  [[nodiscard]] std::string directory_path(const Directory& dir) const;

  std::vector<Layer> layers_;
  OverlayOptions options_;
  std::unique_ptr<Node> root_;
  std::unique_ptr<Directory> root_directory_;

  static constexpr std::size_t kMergeLocks = 16;
  std::array<std::mutex, kMergeLocks> merge_locks_;  // by directory

  std::mutex owned_mutex_;
  std::vector<std::unique_ptr<Content>> owned_;  // every merged directory; guarded by `owned_mutex_`
  std::vector<OverlayConflict> conflicts_;       // guarded by `owned_mutex_`
};

}  // namespace pkgfs::vfs
