// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <forward_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/vfs/file_system.h"

/// The merged tree of an OverlayFileSystem in memory. Nodes and directories never move and live as long as the file
/// system; all but `OverlayDirectory::content` is written once, before other threads can see it.
namespace pkgfs::vfs {

struct OverlayContent;
struct OverlayNode;

struct OverlayDirectory {
  /// One layer's share of the directory.
  struct Part {
    std::uint32_t layer = 0;
    Inode inode = 0;  // in that layer
  };
  const OverlayNode* self = nullptr;
  Part first;  // most directories have one part
  std::vector<Part> more = {};
  std::atomic<const OverlayContent*> content{nullptr};  // null: not merged yet
};

/// An entry. 80 bytes, of which a large package has millions.
struct OverlayNode {
  const char* name = nullptr;                // in the layer's memory
  const OverlayDirectory* holder = nullptr;  // the directory that has this entry; null for the root
  union {
    OverlayDirectory* directory;  // of a directory
    const char* link;             // of a symbolic link: the text, `size` bytes
  };
  Inode inode = 0;  // in its layer
  std::uint64_t size = 0;
  std::uint64_t number = 0;
  std::int64_t modified = 1;
  std::uint32_t modified_ns = 0;
  std::uint32_t layer = 0;
  int error = 0;  // not 0: the errno with which every access to the entry fails
  std::uint16_t mode = 0;
  std::uint8_t name_length = 0;
  FileType type : 4 = FileType::kFile;
  bool synthetic : 1 = false;
  bool mount_ancestor : 1 = false;

  OverlayNode() : directory(nullptr) {}
  [[nodiscard]] std::string_view name_view() const { return {name, name_length}; }
};

/// The entries of a merged directory.
struct OverlayContent {
  int error = 0;  // not 0: the errno with which the directory can't be listed
  std::size_t count = 0;
  std::unique_ptr<OverlayNode[]> nodes;  // `count` of them, sorted by name
  std::size_t directory_count = 0;
  std::unique_ptr<OverlayDirectory[]> directories;  // of the nodes that are directories
  std::forward_list<std::string> texts;             // link texts that had to be rewritten
};

/// The path of `directory` in the overlay. Slow.
[[nodiscard]] std::string path_of(const OverlayDirectory& directory);

}  // namespace pkgfs::vfs
