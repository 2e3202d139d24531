// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <forward_list>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "core/vfs/file_system.h"

/// The merged tree of an OverlayFileSystem in memory. All is written before other threads can see it, and never after
/// that, but for `OverlayContent::used`.
namespace pkgfs::vfs {

class LargeDirectory;
struct OverlayContent;

/// The path of a directory, as the names on it. A directory shares it with those below it, so that a path can be told
/// while the directories above are evicted.
struct OverlayPath {
  std::shared_ptr<const OverlayPath> parent;  // null: this is the root
  std::string_view name;                      // in the layer's memory
  std::size_t depth = 0;

  [[nodiscard]] std::string text() const;
};

/// One layer's share of a directory.
struct OverlayPart {
  std::uint32_t layer = 0;
  Inode inode = 0;  // in that layer
};

/// An entry of a merged directory. It has 72 bytes: a large package has millions of entries.
struct OverlayNode {
  const char* name = nullptr;              // in the layer's memory
  const OverlayContent* holder = nullptr;  // the directory that has this entry; null for the root
  union {
    /// Of a directory: the layers that have it; null: only one has it, `layer` with `inode`.
    const std::vector<OverlayPart>* parts;
    const char* link;  // of a symbolic link: the text, `size` bytes
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
  bool may_be_program : 1 = false;

  OverlayNode() : parts(nullptr) {}
  [[nodiscard]] std::string_view name_view() const { return {name, name_length}; }
  /// Whether the name of `node` sorts before `wanted`. Look-ups spend their time here. In a large file, gcc doesn't
  /// inline the comparison of `std::string_view`.
  static bool is_before(const OverlayNode& node, std::string_view wanted) {
    const int order = std::memcmp(node.name, wanted.data(), std::min<std::size_t>(node.name_length, wanted.size()));
    return order != 0 ? order < 0 : node.name_length < wanted.size();
  }
};

/// Room for a node that a large directory makes when it is asked for one. Costs nothing where none is made.
union OverlayRoom {
  OverlayNode node;
  OverlayRoom() {}  // NOLINT(modernize-use-equals-default): the default constructor would be deleted
  /// Makes a node that has nothing but an error, and perhaps a holder.
  const OverlayNode& failed(int error, const OverlayContent* holder = nullptr) {
    new (&node) OverlayNode;
    node.error = error;
    node.holder = holder;
    return node;
  }
};

/// The entries of a merged directory.
struct OverlayContent {
  Inode directory = 0;       // in the overlay
  std::uint64_t number = 0;  // of that inode
  std::shared_ptr<const OverlayPath> path;
  int error = 0;  // not 0: the errno with which the directory can't be listed
  std::size_t count = 0;
  std::unique_ptr<OverlayNode[]> nodes;  // `count` of them, sorted by name; null if the directory is `large`
  std::unique_ptr<const LargeDirectory> large;
  std::forward_list<std::vector<OverlayPart>> parts;  // of nodes
  std::forward_list<std::string> texts;               // link texts that had to be rewritten
  std::size_t bytes = 0;                              // of memory, about
  mutable std::atomic<bool> used{false};              // since the cache last looked

  OverlayContent();
  ~OverlayContent();
  OverlayContent(const OverlayContent&) = delete;
  OverlayContent& operator=(const OverlayContent&) = delete;

  /// The entry at `index`, which is below `count`; perhaps in `room`.
  [[nodiscard]] const OverlayNode& at(std::size_t index, OverlayRoom& room) const {
    return nodes != nullptr ? nodes[index] : at_large(index, room);
  }
  /// The entry `name` and its index; null if there is none.
  [[nodiscard]] const OverlayNode* find(std::string_view name, std::size_t& index, OverlayRoom& room) const {
    if (nodes == nullptr) [[unlikely]] {
      return find_large(name, index, room);
    }
    const OverlayNode* const first = nodes.get();
    const OverlayNode* const last = first + count;
    const OverlayNode* const node = std::lower_bound(first, last, name, &OverlayNode::is_before);
    index = static_cast<std::size_t>(node - first);
    return node == last || node->name_view() != name ? nullptr : node;
  }
  /// Calls `visit` for the entries from `index` on until it returns false. 0, or the errno of a layer that can't read
  /// what it had.
  template <typename Visit>
  int visit(std::size_t index, Visit&& visit) const {
    if (nodes == nullptr) {
      return visit_large(index, visit);
    }
    while (index < count && visit(index, nodes[index])) {
      ++index;
    }
    return 0;
  }

 private:
  [[nodiscard]] const OverlayNode* find_large(std::string_view name, std::size_t& index, OverlayRoom& room) const;
  [[nodiscard]] const OverlayNode& at_large(std::size_t index, OverlayRoom& room) const;
  int visit_large(std::size_t index, FunctionRef<bool(std::size_t index, const OverlayNode&)> visit) const;
};

}  // namespace pkgfs::vfs
